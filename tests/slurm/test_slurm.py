"""Sweeps through a real SLURM; `make test-slurm` makes a cluster of one node for them."""

import json
import os
import subprocess
import sys
import time

import pytest

from harness.__main__ import main
from tests.sweep.test_launch import outcome

pytestmark = pytest.mark.skipif("JOULEBENCH_SLURM" not in os.environ, reason="make test-slurm starts a SLURM for it")
SLURM = ["hydra/launcher=submitit_slurm", "hardware.cluster.partition=small", "hardware.cluster.time_min=10"]


def test_the_same_records_as_here(tiny, tmp_path):
    grid = [*tiny, "batch_size=1,2"]
    assert main(["sweep", *grid, f"paths.results_dir={tmp_path}/here"]) == 0
    assert main(["sweep", *grid, *SLURM, f"paths.results_dir={tmp_path}/slurm"]) == 0
    assert outcome(tmp_path / "slurm") == outcome(tmp_path / "here")
    assert not list((tmp_path / "slurm").glob("*/.*"))


def test_a_job_that_is_killed_is_a_record_and_its_training_goes_on_from_its_checkpoint(train_tiny, tmp_path):
    grid = [*train_tiny, "task.steps=1500", "task.checkpoint_every=50", f"paths.results_dir={tmp_path}/killed"]
    command = [sys.executable, "-m", "harness", "sweep", *grid, *SLURM]
    sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("killed/*/*/checkpoint/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    jobs = subprocess.run(["squeue", "--noheader", "--format=%A"], capture_output=True, text=True, check=True).stdout
    assert jobs.split(), "the job is still running"
    subprocess.run(["scancel", "--full", "--signal=KILL", jobs.split()[0]], check=True)
    out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, out
    [path] = tmp_path.glob("killed/*/*/record.json")
    assert json.loads(path.read_text())["status"] == "failed"
    assert main(["sweep", *grid, *SLURM]) == 0
    record = json.loads(path.read_text())
    assert record["status"] == "ok"
    assert record["summary"]["training"]["steps"] == 1500
    assert record["summary"]["training"]["interruptions"] >= 1


def test_a_cancelled_job_ends_the_sweep_with_a_typed_record(train_tiny, tmp_path):
    grid = [*train_tiny, "task.steps=1000000", f"paths.results_dir={tmp_path}/cancelled"]
    sweep = subprocess.Popen([sys.executable, "-m", "harness", "sweep", *grid, *SLURM], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("cancelled/*/*/run.log")) and time.monotonic() < deadline:
        time.sleep(0.1)
    subprocess.run(["scancel", "--user", "root"], check=True)
    assert sweep.wait(timeout=120) == 1
    [path] = tmp_path.glob("cancelled/*/*/record.json")
    assert json.loads(path.read_text())["status"] == "failed"
    assert not list(tmp_path.rglob("*.tmp"))
