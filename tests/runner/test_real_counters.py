"""The real command line over counters with a known truth: no hook in the code, only files where Zeus looks in a container."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

MOUNT = Path("/zeus_sys")


def private_mounts() -> bool:
    """Whether this process may mount folders that no other process sees."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return False
    return (
        subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
    )


USABLE = private_mounts() and not Path("/sys/class/powercap/intel-rapl").exists()
WATTS = {"intel-rapl:0": 120.0, "intel-rapl:1": 30.0, "intel-rapl:2": 500.0, "intel-rapl:0/intel-rapl:0:0": 10.0}
NAMES = {
    "intel-rapl:0": "package-0",
    "intel-rapl:1": "package-1",
    "intel-rapl:2": "psys",
    "intel-rapl:0/intel-rapl:0:0": "dram",
}

DRAW = """
import json, os, subprocess, sys, time
mount, names, watts = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
subprocess.run(["mount", "-t", "tmpfs", "none", mount], check=True)
files = {}
for zone, name in names.items():
    folder = f"{mount}/class/powercap/intel-rapl/{zone}"
    os.makedirs(folder, exist_ok=True)
    for file, text in (("name", name), ("max_energy_range_uj", "200000000"), ("energy_uj", "0" * 12)):
        with open(f"{folder}/{file}", "w") as opened:
            opened.write(text)
    files[os.open(f"{folder}/energy_uj", os.O_WRONLY)] = watts[zone]
print("ready", flush=True)
start = time.perf_counter()
while True:
    elapsed = time.perf_counter() - start
    for file, watts in files.items():
        os.pwrite(file, b"%012d" % (int(watts * elapsed * 1e6) % 200_000_000), 0)  # package 0 wraps every 1.7 s
    time.sleep(0.001)
"""


@pytest.fixture
def powered():
    """A RAPL tree under Zeus's container mount, which only commands that begin with what this yields can see."""
    made = not MOUNT.exists()
    MOUNT.mkdir(exist_ok=True)
    process = subprocess.Popen(
        ["unshare", "-m", sys.executable, "-c", DRAW, str(MOUNT), json.dumps(NAMES), json.dumps(WATTS)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    yield ["nsenter", "-m", "-t", str(process.pid)]
    process.kill()
    process.wait()
    if made:
        MOUNT.rmdir()


@pytest.mark.slow
@pytest.mark.skipif(not USABLE, reason="needs the right to mount, and a machine without RAPL")
def test_the_command_line_reports_the_true_power(train_tiny, powered, tmp_path):
    overrides = [*train_tiny, "energy=auto", "protocol.window_s=1.0", "task.steps=4000"]
    done = subprocess.run(
        [*powered, sys.executable, "-m", "harness", "run", *overrides], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "results").glob("adhoc/*/record.json")
    record = json.loads(path.read_text())
    assert {source["component"] for source in record["energy_sources"]} == {"cpu", "dram"}
    for phase in record["summary"]["phases"].values():
        assert phase["energy_method"] == "measured_counter"
        assert phase["energy_components"] == "cpu+dram"
        assert phase["cpu_energy_j"] / phase["duration_s"] == pytest.approx(150, rel=0.01)
        assert phase["dram_energy_j"] / phase["duration_s"] == pytest.approx(10, rel=0.01)
        low, high = phase["total_energy_low_j"], phase["total_energy_high_j"]
        assert low <= 160 * phase["duration_s"] <= high
    assert record["summary"]["harness"]["sampler_cpu_share"] < 0.01
    power = pd.read_parquet(path.parent / "power.parquet")
    assert power[power["component"] == "cpu"]["watts"].median() == pytest.approx(150, rel=0.05)
    windows = pd.read_parquet(path.parent / "windows.parquet")
    windows = windows[windows["repeat"].notna()]
    product = windows["total_energy_j"] / windows["tokens"] * (windows["tokens"] / windows["duration_s"])
    assert (product.dropna() - 160).abs().max() < 3


@pytest.mark.slow
@pytest.mark.skipif(not USABLE, reason="needs the right to mount, and a machine without RAPL")
def test_a_counter_that_disappears_in_the_middle_empties_what_follows(train_tiny, powered, tmp_path):
    overrides = [*train_tiny, "energy=auto", "protocol.window_s=0.5", "task.steps=8000"]
    process = subprocess.Popen([*powered, sys.executable, "-m", "harness", "run", *overrides])
    while not list((tmp_path / "results").glob("adhoc/*/run.log")):
        time.sleep(0.1)
    time.sleep(3)
    subprocess.run([*powered, "rm", f"{MOUNT}/class/powercap/intel-rapl/intel-rapl:1/energy_uj"], check=True)
    assert process.wait(timeout=300) == 0
    [path] = (tmp_path / "results").glob("adhoc/*/record.json")
    windows = pd.read_parquet(path.parent / "windows.parquet")
    assert windows["cpu_energy_j"].notna().any()
    assert pd.isna(windows["cpu_energy_j"].iloc[-1])
    assert "counter_lost" in windows["flags"].iloc[-1]
    assert "cannot be read" in windows["cpu_energy_notes"].iloc[-1]
    assert json.loads(path.read_text())["summary"]["phases"]["score"]["joules_per_token"] is None
    runs = subprocess.run([sys.executable, "-m", "harness", "report", "adhoc"], capture_output=True, text=True)
    assert runs.returncode == 0
    row = pd.read_csv(tmp_path / "results/adhoc/tables/runs.csv").iloc[0]
    assert pd.isna(row["joules_per_token"])
    assert row["energy_method"] == "unavailable"


def orphan(code):
    """Start a process that is no child of this one, as a neighbour's is not; returns its number."""
    shell = f"{sys.executable} -c '{code}' >/dev/null 2>&1 & echo $!"
    return int(subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_busy_neighbour_is_flagged_and_not_billed(tiny, tmp_path):
    from harness.config.compose import compose_cell
    from harness.runner.run import execute

    # One thread: several would spin at their barriers while a neighbour holds a core, and that is time of their own.
    short = ["protocol.window_s=1.0", "protocol.max_foreign_cpu_share=0.2"]
    cell = compose_cell([*tiny, *short, "hardware.cpu_tdp_w=100", "hardware.threads=1"])
    alone = execute(cell, "", lambda *_: None)
    spinners = [orphan("while True: pass") for _ in range(os.cpu_count() or 1)]
    try:
        beside = execute(cell, "", lambda *_: None)
    finally:
        for spinner in spinners:
            os.kill(spinner, signal.SIGKILL)
    assert "contended_host" in beside.summary["phases"]["score"]["flags"]
    quiet, busy = (record.summary["phases"]["score"] for record in (alone, beside))
    # The neighbour takes throughput; the energy of a token may rise by what caches cost, not by its load.
    assert busy["tokens_per_second"] < 0.9 * quiet["tokens_per_second"]
    assert busy["joules_per_token"] < 1.35 * quiet["joules_per_token"]
