"""Which cells of a grid are done, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from harness.config.compose import Cell
from harness.config.fingerprint import fingerprint
from harness.config.schema import Config
from harness.record.environment import comparable, current_environment, differences
from harness.record.record import FILE_NAME, record_in
from harness.runner.folders import run_folder

# A cell with one of these has its answer: it is finished, or cannot run here.
DONE = ("ok", "unsupported")


@dataclass(frozen=True)
class Found:
    """What the results hold of a cell.

    Attributes:
        cell: The cell.
        state: done; pending, to be run; or left, where it failed before and is not to be tried again.
        why: The reason, in words.
        record: Its record, where there is one.
        changed: What differs between its environment and this one, as key: (then, now).
    """

    cell: Cell
    state: Literal["done", "pending", "left"]
    why: str
    record: Mapping[str, Any] | None = None
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def look_up(cells: Sequence[Cell], elsewhere: bool = False) -> list[Found]:
    """What the results hold of each cell.

    Args:
        cells: The cells.
        elsewhere: Whether they run on other machines, whose environment is not known here and not compared.

    Raises:
        UserError: If a record cannot be read.
    """
    here = {} if elsewhere else comparable(current_environment())
    there = {study: study.is_dir() for study in {_study(cell) for cell in cells}}
    return [find(cell, here) if there[_study(cell)] else Found(cell, "pending", "not run yet") for cell in cells]


def _study(cell: Cell) -> Path:
    return Path(cell.config.paths.results_dir, cell.config.study)


def find(cell: Cell, here: Mapping[str, Any]) -> Found:
    """What the results hold of a cell; `here` is this environment, as `comparable` has it.

    A cell is done when there is a record of its fingerprint whose status is `ok`, or `unsupported` in an environment
    like this one. An environment that differs is told; `environment=rerun` runs such cells again.

    Raises:
        UserError: If its record cannot be read.
    """
    config = cell.config
    folder = run_folder(config)
    if not (folder / FILE_NAME).is_file():
        return Found(cell, "pending", "not run yet")
    record = record_in(folder, remedy="remove that folder")
    if record.get("fingerprint") != fingerprint(config):
        return Found(cell, "pending", "the folder holds another cell's record", record)
    if config.rerun == "all":
        return Found(cell, "pending", "rerun=all", record)
    if record["status"] not in DONE:
        state: Literal["left", "pending"] = "left" if config.retry == "none" else "pending"
        return Found(cell, state, f"{record['status']} before", record)
    if changed_since(config, datetime.fromisoformat(record["started_at"])):
        return Found(cell, "pending", "its text or model was changed since", record)
    changed = differences(comparable(record["environment"]), here)
    if changed and (config.environment == "rerun" or record["status"] == "unsupported"):
        return Found(cell, "pending", "run in another environment before", record, changed)
    return Found(cell, "done", record["status"], record, changed)


def changed_since(config: Config, moment: datetime) -> bool:
    """Whether a local text or model that a cell reads was written after a moment: its path is the same, not it."""
    paths = [Path(option.path).expanduser() for option in (config.data, config.model) if hasattr(option, "path")]
    files = [file for path in paths for file in (path.iterdir() if path.is_dir() else [path]) if file.is_file()]
    return any(file.stat().st_mtime > moment.timestamp() + 1 for file in files)


def environment_notes(found: Sequence[Found]) -> list[str]:
    """Sentences on the finished cells whose environment was another: which keys differ, and what to do."""
    kept = [one for one in found if one.state == "done" and one.changed]
    if not kept:
        return []
    keys: dict[str, tuple[Any, Any]] = {}
    for one in kept:
        keys.update(one.changed)
    told = "; ".join(f"{key} was {then}, is {now}" for key, (then, now) in sorted(keys.items()))
    return [
        f"{len(kept)} finished cells were run in another environment: {told}",
        "they are kept; environment=rerun runs them again",
    ]
