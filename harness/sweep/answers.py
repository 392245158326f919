"""What a cell's process tells its parent, and how a record is told from an earlier one of the same cell."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.record.record import Record, read_record
from harness.sweep.cells import DONE


@dataclass(frozen=True)
class Busy:
    """Another sweep runs this cell now."""


@dataclass(frozen=True)
class Finished:
    """Another sweep has finished this cell since this one looked."""


@dataclass(frozen=True)
class Died:
    """The process could not even make a record."""

    reason: str


@dataclass(frozen=True)
class Began:
    """The process lives."""


@dataclass(frozen=True)
class Yielded:
    """The cell waits for its next turn, between two repeats."""


Answer = Record | Busy | Finished
Seen = tuple[str, str, float] | None
"""Status, start and duration of a record."""


def identity_of(record: Mapping[str, Any] | None) -> Seen:
    """What tells a record from another of the same cell."""
    return None if record is None else (record["status"], record["started_at"], record["duration_s"])


def finished_since(folder: Path, seen: Seen) -> bool:
    """Whether a run's folder holds a finished record that is not the one that was seen."""
    with suppress(ValueError, OSError):
        record = read_record(folder)
        return record is not None and record["status"] in DONE and identity_of(record) != seen
    return False
