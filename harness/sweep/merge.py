"""Results of several machines in one folder: nothing overwritten that another machine measured, nothing lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.cache import atomic_path
from harness.errors import UserError
from harness.record.record import FILE_NAME, record_in
from harness.sweep.cells import DONE
from harness.sweep.claim import claimed
from harness.sweep.machine import machine_of

REMEDY = "remove that folder"


@dataclass(frozen=True)
class Merged:
    """What became of one run.

    Attributes:
        source: Its folder.
        target: Where it is now.
        what: added; same (it was there already); replaced (an older or failed run of that machine); kept (the one that
            was there is newer, or finished where this is not).
    """

    source: Path
    target: Path
    what: str


def merge(sources: Sequence[Path], destination: Path) -> Iterator[Merged]:
    """Copy every run of some results folders, or study folders, into a results folder.

    A run keeps its name, unless another machine has a run of that name there: then its machine is added to it. Of two
    runs of one cell on one machine the finished one wins, and then the newer.

    Raises:
        UserError: If a source holds no run, or a record cannot be read.
    """
    for source in sources:
        folders = sorted({path.parent for pattern in ("*", "*/*") for path in source.glob(f"{pattern}/{FILE_NAME}")})
        if not folders:
            raise UserError(f"{source}: no run in it", remedy="give a results folder, or a study's folder in one")
        for folder in folders:
            yield _merge_run(folder, destination)


def _merge_run(folder: Path, destination: Path) -> Merged:
    record = record_in(folder, remedy=REMEDY)
    study, name = destination / record["study"], record["run_id"]
    machine = machine_of(record["environment"])
    target = study / name
    if target.is_dir() and machine_of(record_in(target, remedy=REMEDY)["environment"]) != machine:
        target = study / f"{name}@{machine}"
    with claimed(target, patience_s=10.0) as free:
        if not free:
            raise UserError(f"{target}: a sweep writes there now", remedy="merge again when it has ended")
        if not target.is_dir():
            _copy(folder, target)
            return Merged(folder, target, "added")
        there = record_in(target, remedy=REMEDY)
        if there == record:
            return Merged(folder, target, "same")
        if _rank(record) > _rank(there):
            _replace(folder, target)
            return Merged(folder, target, "replaced")
    return Merged(folder, target, "kept")


def _rank(record: Mapping[str, Any]) -> tuple[bool, str]:
    """What decides between two runs of one cell on one machine; moments are UTC in ISO 8601, which sorts."""
    return record["status"] in DONE, str(record["started_at"])


def _replace(folder: Path, target: Path) -> None:
    """Put a copy in a folder's place; at no moment is there neither."""
    new, old = (target.with_name(f".{target.name}.{word}.tmp") for word in ("new", "old"))
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(folder, new, ignore=shutil.ignore_patterns(".*"))
    target.replace(old)
    new.replace(target)
    shutil.rmtree(old)


def _copy(folder: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copytree(folder, temporary, ignore=shutil.ignore_patterns(".*"))
