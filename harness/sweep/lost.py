"""The record of a cell whose process is gone without one."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.config.compose import Cell
from harness.errors import UserError
from harness.record.record import Record, Status, record_from
from harness.runner.folders import run_folder
from harness.runner.progress import Report
from harness.sweep.answers import Seen, finished_since
from harness.sweep.claim import claimed, crash_log, remove_leftovers


def lost(
    cell: Cell, command: str, status: Status, reason: str, started: Any, last: Report | None, seen: Seen
) -> Record:
    """The record of a cell whose process is gone: its own, if it had still written that, or one that says how it died.

    It is written unless somebody else has the folder, or it cannot be.
    """
    folder = run_folder(cell.config)
    try:
        with claimed(folder, patience_s=1.0) as free:
            if free and finished_since(folder, seen):
                return record_from(folder)
            crash = _take_crash(folder) if free else ""
            record = _made_up(cell, command, status, "\n".join(filter(None, (reason, crash))), started, last)
            if free:
                _write_lost(folder, record)
    except (OSError, UserError) as error:
        print(f"{folder}: its record could not be written: {error}", file=sys.stderr)
        record = _made_up(cell, command, status, reason, started, last)
    return record


def _take_crash(folder: Path) -> str:
    """Where the interpreter was when it crashed; empty if it did not."""
    with suppress(OSError):
        crash = crash_log(folder).read_text(encoding="utf-8").split("\n\nExtension modules:")[0].strip()
        crash_log(folder).unlink()
        return crash
    return ""


def _write_lost(folder: Path, record: Record) -> None:
    from harness.runner.outcome import write_run

    remove_leftovers(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_run(folder, record, [])


def _made_up(cell: Cell, command: str, status: Status, reason: str, started: Any, last: Report | None) -> Record:
    from harness.runner.outcome import identity

    summary = {} if last is None else {"run": {**last.spent, "until": f"the last report, in {last.phase}"}}
    return Record(
        status=status,
        reason=reason,
        overrides=list(cell.overrides),
        command=command,
        summary=summary,
        **identity(cell.config),
        **started.as_fields,
    )


def lost_elsewhere(cell: Cell, command: str, reason: str, seen: Seen, write: bool) -> Record:
    """The record of a cell whose job, on whatever machine, left none; not written where the job never began."""
    from harness.runner.outcome import Started

    if not write:
        return _made_up(cell, command, "failed", reason, Started.now(), None)
    return lost(cell, command, "failed", reason, Started.now(), None, seen)
