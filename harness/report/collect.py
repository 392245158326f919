"""One tidy data frame from a study's records, by the columns of the metric registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import UserError
from harness.metrics.registry import METRICS
from harness.record.record import SCHEMA_VERSION, read_record, record_folders


@dataclass(frozen=True)
class Collected:
    """A study's runs, and what had to be left out.

    Attributes:
        runs: One row a run, one column a metric.
        records: The records themselves, by run id.
        left_out: Folders whose record could not be read, and why.
    """

    runs: pd.DataFrame
    records: dict[str, dict[str, Any]]
    left_out: dict[str, str]


def collect(study: Path) -> Collected:
    """Read every record of a study.

    Raises:
        UserError: If there is no such study, or it has no record.
    """
    if not study.is_dir():
        known = sorted(path.name for path in study.parent.glob("*") if path.is_dir()) if study.parent.is_dir() else []
        raise UserError(
            f"{study}: no such study", allowed=known, remedy="run it first: joulebench sweep study=NAME ..."
        )
    records: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for folder in record_folders(study):
        try:
            records[folder.name] = _checked(read_record(folder))
        except ValueError as error:
            left_out[folder.name] = str(error)
    if not records:
        raise UserError(f"{study}: no readable record in it", remedy="run the study first: joulebench sweep ...")
    runs = pd.DataFrame([row(record) for record in records.values()], columns=[metric.name for metric in METRICS])
    return Collected(with_ratios(runs), records, left_out)


# Runs that agree in all of these differ in nothing that would not cancel in the ratio of their energies.
COMPARABLE = [
    "task",
    "data",
    "tokenizer",
    "device_name",
    "environment_fingerprint",
    "energy_method",
    "energy_components",
]


def with_ratios(runs: pd.DataFrame) -> pd.DataFrame:
    """Add joules per token over those of the cheapest comparable run, with the interval of random error alone.

    The scale of a sensor, or of the modelled CPU, is common to comparable runs and cancels.
    """
    runs = runs.copy()
    cost, half = runs["joules_per_token"].astype(float), runs["joules_per_token_relative_half_width"].astype(float)
    for _, group in runs[cost.notna()].groupby(COMPARABLE, dropna=False):
        costs = cost[group.index]
        cheapest = costs == costs.min()
        ratio = costs / costs.min()
        spread = (half[group.index] ** 2 + float(half[group.index][cheapest].iloc[0]) ** 2) ** 0.5
        spread[cheapest] = 0.0
        runs.loc[group.index, "energy_ratio"] = ratio
        runs.loc[group.index, "energy_ratio_ci_low"] = ratio * (1 - spread)
        runs.loc[group.index, "energy_ratio_ci_high"] = ratio * (1 + spread)
    return runs


def _checked(record: dict[str, Any] | None) -> dict[str, Any]:
    if record is None or record.get("schema_version") != SCHEMA_VERSION:
        found = record.get("schema_version") if record else None
        raise ValueError(f"record of schema version {found}, and this program reads {SCHEMA_VERSION}")
    return record


def row(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as one row; what it lacks is None."""
    main = record.get("summary", {}).get("main_phase", "")
    return {metric.name: _dig(record, metric.path.replace("{main}", main)) for metric in METRICS if metric.path}


def _dig(record: Mapping[str, Any], path: str) -> Any:
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return ", ".join(map(str, value)) if isinstance(value, list) else value
