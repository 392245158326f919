"""Cells in processes of their own: whatever ends one leaves a typed record, and the sweep goes on."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import harness.runner.run as runner
from harness.config.compose import compose_cell, compose_grid
from harness.runner.folders import run_folder
from harness.sweep import worker
from harness.sweep.answers import Busy
from harness.sweep.claim import claimed
from harness.sweep.worker import Worker, describe_exit


class _WithPreload:
    def __init__(self, context):
        self._context = context

    def __getattr__(self, name):
        return getattr(self._context, name)

    def set_forkserver_preload(self, modules):
        pass


@pytest.fixture
def forked(monkeypatch):
    """Workers that are forked from this process, so that what a test patches reaches them."""
    context = _WithPreload(worker.multiprocessing.get_context("fork"))
    monkeypatch.setattr(worker.multiprocessing, "get_context", lambda kind: context)
    monkeypatch.setattr(worker, "GRACE_S", 1.0)


@pytest.fixture
def instead(monkeypatch, forked):
    """Give what a cell does instead of its task."""

    def patch(do):
        monkeypatch.setattr(runner, "run", lambda *arguments: do())

    return patch


def run(overrides):
    cell = compose_cell(overrides)
    record = Worker().run(cell, "command", lambda *_: None)
    stored = json.loads((run_folder(cell.config) / "record.json").read_text())
    assert (stored["status"], stored["reason"]) == (record.status, record.reason)
    assert not list(run_folder(cell.config).parent.glob(".*")), "neither locks nor unfinished files"
    return record


def exhaust():
    held = []
    while True:
        held.append(np.ones(2**26))  # 512 MiB each, written to


def raising(error):
    def do():
        raise error

    return do


def ok():
    """Nothing goes wrong."""


@pytest.mark.parametrize(
    ("do", "overrides", "status", "reason"),
    [
        (raising(ValueError("no such thing")), [], "failed", "ValueError: no such thing"),
        (lambda: sys.exit(5), [], "failed", "SystemExit: 5"),
        (exhaust, ["memory_limit_bytes=4000000000"], "oom", "MemoryError"),
        (lambda: time.sleep(60), ["time_limit_s=0.5"], "timeout", "did not end within time_limit_s=0.5"),
        (ok, [], "ok", ""),
    ],
)
def test_what_a_cell_dies_of_is_its_status(tiny, instead, do, overrides, status, reason):
    instead(do)
    started = time.perf_counter()
    record = run([*tiny, *overrides])
    assert (record.status, reason in record.reason) == (status, True), record.reason
    assert time.perf_counter() - started < 30
    # What it spent until then is known, and how.
    assert record.summary["run"]["duration_s"] > 0
    assert record.summary["run"]["energy_method"] == "modelled"


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        (lambda: os._exit(3), "exited with status 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "exited with status 143"),
        (lambda: ctypes.string_at(0), "killed by SIGSEGV"),
    ],
)
def test_a_process_that_leaves_no_record_leaves_one_all_the_same(tiny, instead, do, reason):
    instead(do)
    record = run(tiny)
    assert record.status == "failed"
    assert reason in record.reason


CRASH = """
import ctypes, sys
import harness.runner.run as runner
from harness.config.compose import compose_cell
from harness.sweep import worker
fork = worker.multiprocessing.get_context("fork")
fork.set_forkserver_preload = lambda modules: None
worker.multiprocessing.get_context = lambda kind: fork
def crash_here(*_):
    ctypes.string_at(0)
runner.run = crash_here
record = worker.Worker().run(compose_cell(sys.argv[1:]), "command", lambda *_: None)
print(record.status)
print(record.reason)
"""


def test_a_segmentation_fault_says_where_it_was(tiny):
    """In a process of its own: pytest has its own handler of such faults."""
    done = subprocess.run([sys.executable, "-c", CRASH, *tiny], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "failed"
    assert "was killed by SIGSEGV" in done.stdout
    assert "Segmentation fault" in done.stdout
    assert "in crash_here" in done.stdout


def test_a_cell_that_hangs_where_no_signal_reaches_it_is_killed(tiny, instead):
    def hang():
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        time.sleep(60)

    instead(hang)
    record = run([*tiny, "time_limit_s=0.5"])
    assert record.status == "timeout"
    assert "and was killed" in record.reason


def test_a_kill_by_the_kernel_for_lack_of_memory_is_told_from_others(tiny, instead, monkeypatch):
    counts = iter([4, 5])
    monkeypatch.setattr(worker, "kernel_oom_kills", lambda: next(counts))
    instead(lambda: os.kill(os.getpid(), signal.SIGKILL))
    record = run(tiny)
    assert record.status == "oom"
    assert "because memory ran out" in record.reason


def test_what_was_spent_until_a_kill_is_what_was_last_reported(tiny, forked, monkeypatch):
    def some_windows_and_then_death(config, meter, folder, progress, findings):
        with meter.window("load"):
            sum(range(3_000_000))
        progress("load", 1, 2)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(runner, "run", some_windows_and_then_death)
    spent = run(tiny).summary["run"]
    assert spent["total_energy_j"] > 0
    assert spent["windows"] == 1
    assert spent["until"] == "the last report, in load"


def test_a_folder_that_another_process_holds_is_left_to_it(tiny, instead):
    instead(ok)
    cell = compose_cell(tiny)
    with claimed(run_folder(cell.config)) as held:
        assert held
        assert Worker().run(cell, "command", lambda *_: None) == Busy()
    assert not run_folder(cell.config).exists()
    assert run(tiny).status == "ok"


def test_what_a_killed_process_had_not_finished_writing_is_removed(tiny, instead):
    instead(ok)
    folder = run_folder(compose_cell(tiny).config)
    (folder / "checkpoint").mkdir(parents=True)
    for name in (".record.json.12345678.tmp", "checkpoint/.last.ckpt.12345678.tmp"):
        (folder / name).write_text("half")
    run(tiny)
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_a_full_disk_and_a_folder_that_became_read_only_end_neither_sweep(tiny, instead, tmp_path, capsys):
    from harness.__main__ import main

    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        instead(ok)
        grid = [*tiny, "batch_size=1,2,3", f"paths.results_dir={disk}"]
        (disk / "filler").write_bytes(b"x" * 60_000)
        assert main(["sweep", *grid]) == 1
        printed = capsys.readouterr()
        assert printed.out.count("failed score-") >= 3
        assert "No space left on device" in printed.out
        (disk / "filler").unlink()
        assert main(["sweep", *grid]) == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert main(["sweep", *grid, "rerun=all"]) == 2
        assert "no permission to write" in capsys.readouterr().err
        assert len(list(disk.glob("*/*/record.json"))) == 3
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("code", "text"), [(3, "exited with status 3"), (-11, "was killed by SIGSEGV"), (None, "exited with status None")]
)
def test_exits_in_words(code, text):
    assert describe_exit(code).startswith(text)


def test_inline_cells_run_in_this_process(tiny, monkeypatch, capsys):
    from harness.__main__ import main

    seen = []
    monkeypatch.setattr(runner, "run", lambda *_: seen.append(os.getpid()))
    assert main(["sweep", *tiny, "batch_size=1,2", "isolation=inline"]) == 0
    assert seen == [os.getpid()] * 2


@pytest.mark.slow
def test_a_sweep_runs_each_cell_once_and_in_a_process_of_its_own(train_tiny, capsys):
    from harness.__main__ import main

    overrides = [*train_tiny, "precision=fp32,bf16", "batch_size=2,4", "study=grid"]
    assert main(["sweep", *overrides]) == 0
    out = capsys.readouterr().out
    assert "4 cells: 0 done, 4 to run" in out
    cells = compose_grid(overrides)
    made = [(run_folder(cell.config) / "record.json").stat().st_mtime_ns for cell in cells]
    assert main(["sweep", *overrides]) == 0
    assert "4 cells: 4 done, 0 to run" in capsys.readouterr().out
    assert [(run_folder(cell.config) / "record.json").stat().st_mtime_ns for cell in cells] == made


@pytest.mark.slow
def test_a_sweep_goes_on_past_a_cell_that_cannot_run(tiny, tmp_path, capsys):
    from harness.__main__ import main

    status = main(["sweep", *tiny, "study=mixed", "task.scoring.context=16,99"])
    assert status == 1
    out = capsys.readouterr().out
    assert "failed" in out
    assert "reads at most 32 tokens" in out
    assert "1 cells are not ok; to run them again: joulebench sweep" in out
    statuses = sorted(json.loads(p.read_text())["status"] for p in (tmp_path / "results/mixed").glob("*/record.json"))
    assert statuses == ["failed", "ok"]


def test_interleaved_cells_take_turns_repeat_by_repeat(tiny, forked, monkeypatch, tmp_path, capsys):
    """Three cells of three repeats each: the first repeats of all, then the second ones, then the third."""
    from harness.__main__ import main
    from harness.runner.repeats import repeat_in_turn

    log = tmp_path / "log"

    def repeats(config, meter, folder, progress, findings):
        def measure(number):
            with meter.window("score", number) as window:
                with log.open("a") as file:
                    file.write(f"{config.batch_size}:{number} ")
                window.work.tokens = 10
            return meter.windows[-1]

        repeat_in_turn(config.protocol, {"score": measure})

    monkeypatch.setattr(runner, "run", repeats)
    exact = ["protocol.min_repeats=3", "protocol.max_repeats=3"]
    assert main(["sweep", *tiny, *exact, "batch_size=1,2,3", "order=interleaved"]) == 0
    assert log.read_text().split() == [f"{size}:{number}" for number in (1, 2, 3) for size in (1, 2, 3)]
    assert capsys.readouterr().out.count("ok score-") >= 3
    assert main(["sweep", *tiny, "order=interleaved", "time_limit_s=3"]) == 2
    assert "order=interleaved" in capsys.readouterr().err


def test_an_interleaved_cell_that_dies_does_not_hold_up_the_others(tiny, forked, monkeypatch, tmp_path):
    from harness.__main__ import main
    from harness.runner.turns import between_repeats

    def some_die(config, meter, folder, progress, findings):
        between_repeats()
        if config.batch_size == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        between_repeats()

    monkeypatch.setattr(runner, "run", some_die)
    assert main(["sweep", *tiny, "batch_size=1,2,3", "order=interleaved"]) == 1
    statuses = {json.loads(path.read_text())["cell"]["batch_size"]: json.loads(path.read_text())["status"]
                for path in (tmp_path / "results").glob("*/*/record.json")}  # fmt: skip
    assert statuses == {1: "ok", 2: "failed", 3: "ok"}
