"""Exports of a study in formats that reviewers and hubs know; one format a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.data.cache import atomic_path
from harness.errors import UserError
from harness.report.collect import Collected
from harness.report.site import Site


@dataclass(frozen=True)
class Study:
    """What an export is made of.

    Attributes:
        folder: The study's folder under results/.
        collected: Its runs; with a site, they have columns for carbon and cost.
        site: Where the runs are taken to have been made, if that was said.
    """

    folder: Path
    collected: Collected
    site: Site | None = None

    @property
    def name(self) -> str:
        """The study's name in its records: a copy of its folder keeps it."""
        return str(self.collected.runs["study"].iloc[0])

    @property
    def exports(self) -> Path:
        """Where exports are written."""
        return self.folder / "exports"

    def tables(self) -> Path:
        """The folder of the study's tables.

        Raises:
            UserError: If it has none, or its runs.csv holds other runs than the records do.
        """
        path = self.folder / "tables" / "runs.csv"
        remedy = f"joulebench report {self.folder.name}"
        if not path.is_file():
            raise UserError(f"{path}: no such file", remedy=remedy)
        tabled = pd.read_csv(path, usecols=["run_id", "started_at"], dtype=str, keep_default_na=False)
        recorded = self.collected.runs[["run_id", "started_at"]].fillna("").astype(str)
        if set(tabled.itertuples(index=False, name=None)) != set(recorded.itertuples(index=False, name=None)):
            raise UserError(f"{path} is not of the records that are there now", remedy=remedy)
        return path.parent


def known(run: pd.Series) -> dict[str, Any]:
    """A run's columns that have a value, as plain Python's."""
    found = {str(name): value.item() if hasattr(value, "item") else value for name, value in run.items()}
    return {name: value for name, value in found.items() if not pd.isna(value)}


def dig(record: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of a record, or None."""
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def write_text(path: Path, text: str) -> Path:
    """Write a file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
