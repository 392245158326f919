"""SIGKILL at any moment, of the worker or of the sweep: afterwards every cell is there once, and nothing half-written."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

import harness.runner.run as runner
from harness.config.compose import compose_grid
from harness.record.record import read_record
from harness.runner.folders import run_folder
from harness.sweep.cells import look_up
from harness.sweep.claim import tidy
from harness.sweep.loop import run_cells
from tests.sweep.test_worker import forked  # noqa: F401 (a fixture)

TRIALS = 100
LONGEST_S = 0.4  # until the kill


class Quiet:
    """Watches nothing."""

    def __getattr__(self, name):
        return lambda *_: None


def some_work(ran: Path):
    """A stand-in for a task: two windows, some writing, and a note that it was begun and ended."""

    def run(config, meter, folder, progress, findings):
        (ran / f"begun-{config.batch_size}-{os.getpid()}-{time.monotonic_ns()}").touch()
        for number in (1, 2):
            with meter.window("score", number) as window:
                time.sleep(0.01)
                window.work.tokens = 10
            progress("score", number, 2)
        findings.quality = {"perplexity": 2.0}

    return run


def sweep(cells):
    """What `joulebench sweep` does between composing and printing."""
    os.setpgid(0, 0)
    tidy(run_folder(cells[0].config).parent)
    run_cells([found for found in look_up(cells) if found.state == "pending"], "sweep", Quiet())


def kill_something(process, after_s, newest):
    """After a while kill the sweep, or the newest of its children; as the kernel would, without a warning."""
    time.sleep(after_s)
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        victim = children[-1].pid if children and newest else process.pid
        os.kill(victim, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        pass


def wait_until_gone(group):
    """Until no process of a group is left: those of a sweep that was killed go by themselves."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        alive = []
        for process in psutil.process_iter():
            try:
                if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                pass
        if not alive:
            return
        time.sleep(0.02)
    raise AssertionError(f"still there: {alive}")


@pytest.mark.slow
def test_whatever_is_killed_every_cell_ends_exactly_once_as_ok(tiny, tmp_path, forked, monkeypatch):  # noqa: F811
    context = multiprocessing.get_context("fork")
    generator = random.Random(20261124)
    cells = compose_grid([*tiny, "batch_size=1,2,3"])
    for trial in range(TRIALS):
        results, ran = tmp_path / f"results-{trial}", tmp_path / f"ran-{trial}"
        ran.mkdir()
        monkeypatch.setattr(runner, "run", some_work(ran))
        these = compose_grid([*tiny, "batch_size=1,2,3", f"paths.results_dir={results}"]) if not trial else [
            type(cell)(_elsewhere(cell.config, results), cell.overrides) for cell in cells
        ]  # fmt: skip
        process = context.Process(target=sweep, args=(these,))
        process.start()
        # At a random moment of this trial's share of the time, so that all of it is tried, with either victim.
        kill_something(process, LONGEST_S * (trial + generator.random()) / TRIALS, newest=trial % 2 == 0)
        process.join(timeout=30)
        assert process.exitcode is not None
        wait_until_gone(process.pid)
        finished = {run_folder(c.config): _bytes(c) for c in these if (r := _record(c)) and r["status"] == "ok"}
        begun_before = len(list(ran.iterdir()))
        again = context.Process(target=sweep, args=(these,))
        again.start()
        again.join(timeout=30)
        assert again.exitcode == 0
        assert [_record(cell)["status"] for cell in these] == ["ok"] * 3, trial
        assert all(_bytes(cell) == finished.get(run_folder(cell.config), _bytes(cell)) for cell in these)
        assert len(list(ran.iterdir())) - begun_before == 3 - len(finished), "a finished cell ran again"
        assert not [path for path in results.rglob("*") if ".tmp" in path.name or path.name.startswith(".")], trial


def _elsewhere(config, results):
    from dataclasses import replace

    return replace(config, paths=replace(config.paths, results_dir=str(results)))


def _record(cell):
    return read_record(run_folder(cell.config))


def _bytes(cell):
    return (run_folder(cell.config) / "record.json").read_bytes()


@pytest.mark.slow
def test_two_sweeps_over_one_folder_share_the_work_and_lose_nothing(tiny, tmp_path, forked, monkeypatch):  # noqa: F811
    ran = tmp_path / "ran"
    ran.mkdir()
    monkeypatch.setattr(runner, "run", some_work(ran))
    cells = compose_grid([*tiny, "batch_size=1,2,3,4,5,6,7,8"])
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=sweep, args=(cells,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=60)
    assert [process.exitcode for process in both] == [0, 0]
    assert [_record(cell)["status"] for cell in cells] == ["ok"] * 8
    begun = [path.name.split("-")[1] for path in ran.iterdir()]
    assert sorted(begun) == sorted(str(cell.config.batch_size) for cell in cells), "each once"


@pytest.mark.slow
def test_five_hundred_trivial_cells_leave_the_parent_as_it_was(tiny, tmp_path, forked, monkeypatch):  # noqa: F811
    ran = tmp_path / "ran"
    ran.mkdir()
    monkeypatch.setattr(runner, "run", lambda *_: None)
    cells = compose_grid([*tiny, f"seed={','.join(map(str, range(500)))}"])
    process, sizes = psutil.Process(), []

    class Watch(Quiet):
        def finish_cell(self, record, note=""):
            sizes.append(process.memory_info().rss)

    records = run_cells(look_up(cells), "sweep", Watch())
    assert {record.status for record in records} == {"ok"}
    assert len({record.run_id for record in records}) == 500
    growth = sizes[-1] - sizes[49]
    assert growth < 60e6, "450 records of some 40 kB are kept for the table, and no more than that"
