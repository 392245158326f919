"""Records of earlier layouts, brought to the one that this program reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.record.record import SCHEMA_VERSION

Step = Callable[[dict[str, Any]], dict[str, Any]]

# What makes a record of version n one of version n + 1. Add a step here whenever SCHEMA_VERSION grows.
STEPS: dict[int, Step] = {}


def migrated(record: Mapping[str, Any], steps: Mapping[int, Step] = STEPS, to: int = SCHEMA_VERSION) -> dict[str, Any]:
    """The record in the layout of version `to`; the file stays as it is.

    Raises:
        ValueError: If its version is unknown, newer than `to`, or has no step.
    """
    found = record.get("schema_version")
    if not isinstance(found, int) or found > to:
        raise ValueError(f"record of schema version {found}, and this program reads {to}")
    brought = dict(record)
    for version in range(found, to):
        if version not in steps:
            raise ValueError(f"record of schema version {found}, and this program reads {to}")
        brought = {**steps[version](brought), "schema_version": version + 1}
    return brought
