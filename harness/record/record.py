"""record.json: everything about one run, standing alone."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from harness.data.cache import atomic_path
from harness.errors import UserError

SCHEMA_VERSION = 1
FILE_NAME = "record.json"

Status = Literal["ok", "oom", "failed", "timeout", "unsupported", "invalid"]


@dataclass(frozen=True)
class Record:
    """One run of one cell.

    Attributes:
        schema_version: Version of this layout.
        study, run_id, fingerprint: Where the record belongs.
        status: How the run ended.
        reason: Why, where it is not `ok`, with the traceback's end.
        cell: The cell's axes by name, for tables.
        config: The resolved configuration.
        overrides, command: How it was asked for.
        model, data: What was loaded, and where from.
        quality: Metrics of quality and their protocol.
        summary: Efficiency by phase, over the measured repeats.
        energy_sources: What was read for energy, or why it could not be.
        environment, environment_fingerprint: The machine and the software.
        started_at: UTC, ISO 8601.
        duration_s: Seconds of the whole run.
    """

    study: str
    run_id: str
    fingerprint: str
    status: Status
    cell: dict[str, Any]
    config: dict[str, Any]
    overrides: list[str]
    command: str
    environment: dict[str, Any]
    environment_fingerprint: str
    started_at: str
    duration_s: float
    reason: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    energy_sources: list[dict[str, Any]] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION


def write_record(folder: Path, record: Record) -> None:
    """Write record.json, whole or not at all. Numbers that JSON lacks (infinity, NaN) become null."""
    text = json.dumps(_finite(asdict(record)), indent=2, sort_keys=True, allow_nan=False)
    with atomic_path(folder / FILE_NAME) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())  # Before it takes its name, so that a power failure leaves no empty record.


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record in a run's folder, or None if there is none yet.

    Raises:
        ValueError: If the file is not a record.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict) or "status" not in record or "run_id" not in record:
        raise ValueError(f"{path} is not a record")
    return record


def record_in(folder: Path, remedy: str = "give a run's folder, or its record.json") -> dict[str, Any]:
    """The record in a folder that a person named, or that must have one.

    Raises:
        UserError: If there is none, or it cannot be read.
    """
    try:
        record = read_record(folder)
    except ValueError as error:
        raise UserError(f"{folder}: its record cannot be read: {error}", remedy=remedy) from error
    if record is None:
        raise UserError(f"{folder}: no record in it", remedy=remedy)
    return record


def record_from(folder: Path) -> Record:
    """The record in a run's folder, typed.

    Raises:
        ValueError: If there is none.
    """
    found = read_record(folder)
    if found is None:
        raise ValueError(f"{folder} has no record")
    known = {field.name for field in fields(Record)}
    return Record(**{name: value for name, value in found.items() if name in known})


def record_folders(study: Path) -> Iterator[Path]:
    """The folders of a study's runs that have a record, by name."""
    for path in sorted(study.glob(f"*/{FILE_NAME}")):
        if not path.parent.name.startswith("."):
            yield path.parent


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
