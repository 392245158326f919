"""The command line: exit status, messages, and what is left on disk."""

import os
import signal
import subprocess
import sys
import time
import types

import pytest

from harness.__main__ import main
from tests.simulate import Load, RealClock, drive_rapl


def joulebench(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments], capture_output=True, text=True, timeout=120, **options
    )


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_answers_without_heavy_imports(arguments):
    code = f"import sys, harness.__main__ as m\ntry: m.main({arguments})\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'hydra', 'pandas', 'pydantic', 'numpy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_run_prints_its_result_and_where_it_is(tiny, capsys, tmp_path):
    assert main(["run", *tiny]) == 0
    out = capsys.readouterr().out
    assert "score-gpt-nano-notes-fp32-b4-cpu-s0-" in out
    assert f"record: {tmp_path}/results/adhoc/" in out


def test_cfg_prints_the_configuration_and_runs_nothing(tiny, capsys, tmp_path):
    import yaml

    assert main(["run", "--cfg", *tiny]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["n_layer"] == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", ["run", "sweep"])
@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("batch_size=0", ["batch_size=0"]),
        ("model=local", ["model.path is not set"]),
        ("batch_sise=2", ["no such key", "Did you mean 'batch_size'?"]),
        ("data.path=none.txt", ["data.path=none.txt: no such file"]),
    ],
)
def test_bad_input_is_one_message_and_status_2(tiny, tmp_path, capsys, command, override, parts):
    overrides = [o for o in tiny if not (override.startswith("model=") and o.startswith(("model", "tokenizer")))]
    assert main([command, *overrides, override]) == 2
    printed = capsys.readouterr()
    for part in parts:
        assert part in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("kind", ["empty", "binary", "folder"])
def test_a_bad_text_or_model_is_found_before_anything_is_made(tiny, tmp_path, capsys, kind):
    path = tmp_path / "bad.txt"
    path.write_bytes({"empty": b"", "binary": b"\0\1\2", "folder": b""}[kind])
    override = {"folder": ["model=local", f"model.path={tmp_path}/nowhere"]}.get(kind, [f"data.path={path}"])
    overrides = [o for o in tiny if kind != "folder" or not o.startswith(("model", "tokenizer"))]
    assert main(["run", *overrides, *override]) == 2
    assert {"empty": "is empty", "binary": "is binary", "folder": "no such folder"}[kind] in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_results_that_cannot_be_written_are_named(tiny, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["run", *tiny, f"paths.results_dir={tmp_path}/file/results"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_read_only_folder_is_named(tiny, tmp_path, capsys, monkeypatch):
    locked = tmp_path / "locked"
    locked.mkdir()
    allowed = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: str(path) != str(locked) and allowed(path, mode)
    )  # as root too
    assert main(["run", *tiny, f"paths.results_dir={locked}"]) == 2
    assert "no permission to write" in capsys.readouterr().err


def test_debug_shows_the_traceback():
    done = joulebench("run", "--debug", "batch_size=0")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    done = joulebench("run", "batch_size=0", env={**os.environ, "JOULEBENCH_DEBUG": "1"})
    assert "Traceback" in done.stderr


def test_run_of_a_grid_names_sweep(capsys):
    assert main(["run", "batch_size=1,2"]) == 2
    assert "joulebench sweep" in capsys.readouterr().err


def test_random_weights_are_told_and_no_library_chatters(tiny):
    done = joulebench("run", *tiny)
    assert done.returncode == 0
    assert "random weights, so that quality and texts mean nothing: score-gpt-nano" in done.stdout
    assert done.stderr == ""


def test_doctor_says_what_is_read_and_what_is_assumed(capsys):
    assert main(["doctor", "energy=modelled"]) == 0
    out = capsys.readouterr().out
    assert "modelled" in out
    assert "cpu_tdp_w" in out


def test_doctor_says_what_to_do_without_counters(monkeypatch, capsys):
    from zeus.device import cpu

    monkeypatch.setattr(cpu, "_cpus", None)
    monkeypatch.setattr(cpu, "rapl_is_available", lambda: False)
    assert main(["doctor", "energy=counters"]) == 0
    out = capsys.readouterr().out
    assert "unavailable" in out
    assert "remedy: make its counters readable (sudo chmod -R a+r /sys/class/powercap/intel-rapl) or run zeusd" in out


def test_doctor_shows_the_measured_update_period(monkeypatch, rapl, capsys):
    drive_rapl(rapl, RealClock(), {"package-0": Load([(0.0, 50.0)], period_s=0.02)}, monkeypatch)
    assert main(["doctor"]) == 0
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cpu ")]
    milliseconds, unit = row.split()[-2:]
    assert float(milliseconds) == pytest.approx(20, abs=1)
    assert unit == "ms"
    assert "CPU packages" in row


def test_doctor_as_json_and_with_counters(rapl, capsys):
    import json

    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {source["component"] for source in told["sources"]} == {"cpu", "dram"}
    assert {source["method"] for source in told["sources"]} == {"measured_counter"}
    assert told["quiet"] == (told["foreign_cpu_share"] <= 0.05)


def test_doctor_shows_a_gpu_that_the_configuration_does_not_use(nvml, capsys):
    assert main(["doctor", "energy=modelled"]) == 0
    assert "1 x Simulated GPU" in capsys.readouterr().out


def test_doctor_says_who_is_on_a_gpu(nvml, capsys):
    import json

    nvml.processes = [types.SimpleNamespace(pid=1)]
    assert main(["doctor", "energy=modelled", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["device_flags"] == []  # the run would not use it
    assert main(["doctor", "hardware=cuda", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["device_flags"] == ["foreign_gpu_process"]
    assert told["quiet"] is False
    assert main(["doctor", "hardware=cuda"]) == 0
    [verdict] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("quiet now")]
    assert verdict.startswith("quiet now: no: windows would be flagged ")
    assert "foreign_gpu_process" in verdict


@pytest.mark.parametrize(
    ("share", "flags", "told"),
    [
        (0.01, (), "yes (others use 1.0% of the CPU; the limit is 5%)"),
        (0.5, ("throttled",), "no: windows would be flagged contended_host, throttled (others use 50.0%"),
        (None, (), "not known: this system does not say what others use of the CPU"),
        (None, ("foreign_gpu_process",), "no: windows would be flagged foreign_gpu_process"),
        (0.01, None, "not known: the boards cannot be asked (others use 1.0%"),
    ],
)
def test_what_doctor_says_of_others(share, flags, told):
    from harness.commands.doctor import _verdict
    from harness.energy.quiet import Quietness

    assert _verdict(Quietness(share, 1.0, 0.05, flags)).startswith(told)


def test_a_spawned_helper_that_imports_the_entry_point_again_does_nothing():
    code = "import runpy; runpy.run_module('harness', run_name='__mp_main__', alter_sys=True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


def test_completion_is_hydras(tmp_path):
    environment = {**os.environ, "COMP_LINE": "joulebench model=gpt-n", "COMP_POINT": "22"}
    done = joulebench("-sc", "query=bash", env=environment)
    assert done.stdout.split() == ["model=gpt-nano"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_ctrl_c_in_the_middle_ends_quietly_and_leaves_nothing_half_written(train_tiny, tmp_path, command):
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", command, *train_tiny, "task.steps=1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts the tests in its background lets them ignore SIGINT, and so would this process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "results").glob("adhoc/*/run.log")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert f"joulebench {command}: stopped" in errors
    assert ("the same command goes on from there" in errors) == (command == "sweep")
    assert not list((tmp_path / "results").rglob("*.tmp"))
    assert not list((tmp_path / "results").rglob("record.json"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.5123, "0.512 J wall meter"), (99.44, "99.4 J wall meter"), (1403.6, "1404 J wall meter")],
)
def test_energy_beside_a_finished_cell(value, text):
    from harness.commands.display import joules

    assert joules({"total_energy_j": value, "energy_method": "wall_meter"}) == text
