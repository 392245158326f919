"""Cells in processes of their own: what kills one leaves a record, and the sweep goes on."""

import json
import os
import signal

import pytest

from harness.commands import sweep
from harness.config.compose import compose_cell, compose_grid
from harness.runner import isolate
from harness.runner.isolate import Worker, describe_exit
from harness.runner.outcome import run_folder
from harness.runner.run import execute


@pytest.fixture
def forked(monkeypatch):
    """Workers that are forked from this process, so that what a test patches reaches them."""
    context = _WithPreload(isolate.multiprocessing.get_context("fork"))
    monkeypatch.setattr(isolate.multiprocessing, "get_context", lambda kind: context)


class _WithPreload:
    def __init__(self, context):
        self._context = context

    def __getattr__(self, name):
        return getattr(self._context, name)

    def set_forkserver_preload(self, modules):
        pass


def test_a_killed_worker_leaves_a_record_that_says_how(tiny, forked, monkeypatch):
    monkeypatch.setattr(isolate, "execute", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    cell = compose_cell(tiny)
    record = Worker().run(cell, "command", lambda *_: None)
    assert record.status == "failed"
    assert "killed by SIGKILL, as the kernel does when memory runs out" in record.reason
    assert json.loads((run_folder(cell.config) / "record.json").read_text())["status"] == "failed"


def test_a_worker_that_leaves_early_is_a_record_too(tiny, forked, monkeypatch):
    monkeypatch.setattr(isolate, "execute", lambda *_, **__: os._exit(3))
    assert "exited with status 3" in Worker().run(compose_cell(tiny), "command", lambda *_: None).reason


@pytest.mark.parametrize(
    ("code", "text"), [(3, "exited with status 3"), (-11, "was killed by SIGSEGV"), (None, "exited with status None")]
)
def test_exits_in_words(code, text):
    assert describe_exit(code).startswith(text)


@pytest.mark.slow
def test_a_sweep_runs_each_cell_once_and_in_a_process_of_its_own(train_tiny, capsys):
    from harness.__main__ import main

    overrides = [*train_tiny, "precision=fp32,bf16", "batch_size=2,4", "study=grid"]
    assert main(["sweep", *overrides]) == 0
    out = capsys.readouterr().out
    assert "4 cells: 0 done, 4 to run" in out
    cells = compose_grid(overrides)
    assert all(sweep.is_done(cell) for cell in cells)
    made = [(run_folder(cell.config) / "record.json").stat().st_mtime_ns for cell in cells]
    assert main(["sweep", *overrides]) == 0
    assert "4 cells: 4 done, 0 to run" in capsys.readouterr().out
    assert [(run_folder(cell.config) / "record.json").stat().st_mtime_ns for cell in cells] == made


def test_failed_cells_are_run_again_and_finished_ones_are_not(tiny):
    cell = compose_cell(tiny)
    assert not sweep.is_done(cell)
    execute(cell, "command", lambda *_: None)
    assert sweep.is_done(cell)
    path = run_folder(cell.config) / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "status": "failed"}))
    assert not sweep.is_done(cell)
    path.write_text(json.dumps({**record, "fingerprint": "another"}))
    assert not sweep.is_done(cell)


@pytest.mark.slow
def test_a_sweep_goes_on_past_a_cell_that_cannot_run(tiny, tmp_path, capsys):
    from harness.__main__ import main

    status = main(["sweep", *tiny, "study=mixed", "task.scoring.context=16,99"])
    assert status == 1
    out = capsys.readouterr().out
    assert "failed" in out
    assert "reads at most 32 tokens" in out
    statuses = sorted(json.loads(p.read_text())["status"] for p in (tmp_path / "results/mixed").glob("*/record.json"))
    assert statuses == ["failed", "ok"]
