"""The sweep itself: cell after cell, those of another sweep left to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from harness.config.compose import Cell
from harness.config.schema import Config
from harness.record.environment import comparable, current_environment
from harness.record.record import Record, record_from
from harness.runner.folders import run_folder
from harness.runner.progress import Report
from harness.sweep.answers import Answer, Busy, Finished, Yielded, identity_of
from harness.sweep.cells import Found, find
from harness.sweep.child import run_claimed
from harness.sweep.claim import wait_until_free
from harness.sweep.worker import Worker


class Watcher(Protocol):
    """Is told how a sweep goes."""

    def start_cell(self, config: Config) -> None:
        """A cell begins."""

    def report(self, told: Report) -> None:
        """How far it has come."""

    def finish_cell(self, record: Record, note: str = "") -> None:
        """It has ended."""

    def postpone_cell(self, config: Config) -> None:
        """Another sweep runs it."""


def run_cells(found: Sequence[Found], command: str, watcher: Watcher) -> list[Record]:
    """Run pending cells one after the other; those that another sweep runs are looked at again at the end.

    Raises:
        KeyboardInterrupt: If the user, or a scheduler, stops the sweep.
    """
    worker = Worker()
    records: list[Record] = []
    postponed: list[Cell] = []
    if found and found[0].cell.config.order == "interleaved":
        return _run_in_turn(worker, found, command, watcher)
    for one in found:
        watcher.start_cell(one.cell.config)
        answer = _run(worker, one, command, watcher)
        if isinstance(answer, Busy):
            watcher.postpone_cell(one.cell.config)
            postponed.append(one.cell)
        else:
            records.append(_finish(one.cell, answer, watcher))
    return records + [_after_the_other(worker, cell, command, watcher) for cell in postponed]


def _run_in_turn(worker: Worker, found: Sequence[Found], command: str, watcher: Watcher) -> list[Record]:
    """All cells at once, of which one works at a time, from one repeat to the next."""
    running = deque(
        worker.start(one.cell, command, watcher.report, identity_of(one.record), takes_turns=True) for one in found
    )
    records, postponed = [], []
    try:
        while running:
            watcher.start_cell(running[0].cell.config)
            answer = running[0].go_on()
            if isinstance(answer, Yielded):
                running.rotate(-1)
                continue
            cell = running.popleft().cell
            if isinstance(answer, Busy):
                watcher.postpone_cell(cell.config)
                postponed.append(cell)
            else:
                records.append(_finish(cell, answer, watcher))
    except KeyboardInterrupt:
        for waiting in running:
            waiting.stop(asked=False)
        raise
    return records + [_after_the_other(worker, cell, command, watcher) for cell in postponed]


def _run(worker: Worker, found: Found, command: str, watcher: Watcher) -> Answer:
    if found.cell.config.isolation == "inline":
        # In this process, where a debugger can follow it.
        return run_claimed(found.cell, command, watcher.report, identity_of(found.record), crashes=False)
    return worker.run(found.cell, command, watcher.report, identity_of(found.record))


def _finish(cell: Cell, answer: Record | Finished, watcher: Watcher) -> Record:
    record = answer if isinstance(answer, Record) else record_from(run_folder(cell.config))
    watcher.finish_cell(record, "" if isinstance(answer, Record) else "by another sweep")
    return record


def _after_the_other(worker: Worker, cell: Cell, command: str, watcher: Watcher) -> Record:
    """The record of a cell that another sweep runs, once it has; where it did not finish it, this one runs it."""
    while True:
        watcher.start_cell(cell.config)
        wait_until_free(run_folder(cell.config))
        found = find(cell, comparable(current_environment()))
        if found.state == "done":
            return _finish(cell, Finished(), watcher)
        answer = _run(worker, found, command, watcher)
        if not isinstance(answer, Busy):
            return _finish(cell, answer, watcher)
