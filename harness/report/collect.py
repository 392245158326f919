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
from harness.stats.intervals import Interval, ratio_interval


@dataclass(frozen=True)
class Collected:
    """A study's runs, and what had to be left out.

    Attributes:
        runs: One row a run, one column a metric.
        records: The records themselves, by run id.
        left_out: Folders whose record could not be read, and why.
        curves: Quality curves, by run id.
    """

    runs: pd.DataFrame
    records: dict[str, dict[str, Any]]
    left_out: dict[str, str]
    curves: dict[str, pd.DataFrame]


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
    # A merged run of another machine has that machine behind its name.
    rows = [{**row(record), "run_id": name} for name, record in records.items()]
    runs = pd.DataFrame(rows, columns=[metric.name for metric in METRICS])
    paths = {run_id: study / run_id / "curve.parquet" for run_id in records}
    curves = {run_id: pd.read_parquet(path) for run_id, path in paths.items() if path.is_file()}
    # Trainings with unlike budgets are no comparison of precisions.
    scored = [run_id for run_id, record in records.items() if record["cell"]["task"] != "train"]
    costs = {run_id: study / run_id / "likelihoods.parquet" for run_id in scored}
    likelihoods = {run_id: pd.read_parquet(path) for run_id, path in costs.items() if path.is_file()}
    return Collected(with_differences(with_ratios(runs), likelihoods), records, left_out, curves)


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
    """Add joules per token over those of the cheapest comparable run that is ok, with an interval.

    The scale of a sensor, or of the modelled CPU, is common to comparable runs and cancels: what remains is random
    error, and, for a model of two curves, the range from the ratio under one curve to the ratio under the other.
    """
    runs = runs.copy()
    costs = ["joules_per_token", "joules_per_token_low", "joules_per_token_high"]
    half_width = "joules_per_token_relative_half_width"
    known = runs[(runs["status"] == "ok") & runs[[*costs, half_width]].notna().all(axis=1)]
    for _, group in known.groupby(COMPARABLE, dropna=False):
        cheapest = group.sort_values("joules_per_token", kind="stable").iloc[0]
        ratios = group[costs].astype(float) / cheapest[costs].astype(float)
        spread = (group[half_width].astype(float) ** 2 + float(cheapest[half_width]) ** 2) ** 0.5
        spread[ratios["joules_per_token"] == 1.0] = 0.0
        runs.loc[group.index, "energy_ratio"] = ratios["joules_per_token"]
        runs.loc[group.index, "energy_ratio_ci_low"] = ratios.min(axis=1) * (1 - spread)
        runs.loc[group.index, "energy_ratio_ci_high"] = ratios.max(axis=1) * (1 + spread)
    return runs


# Runs that agree in all of these scored the same tokens of the same text.
SAME_TEXT = [
    *("task", "model", "data", "tokenizer", "seed", "scored_tokens", "text_bytes"),
    *("score_context", "score_stride", "score_documents"),
]


def with_differences(runs: pd.DataFrame, likelihoods: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Add what each run loses against the same model in fp32, whole, in PyTorch: nats a token, document by document.

    The documents of one text are easy or hard for both, which cancels: the interval (95 %, bootstrap over documents) is
    much narrower than those of the two perplexities. The reference has the same batch size, or else is the first.
    """
    runs = runs.copy()
    known = runs[(runs["status"] == "ok") & runs["run_id"].isin(list(likelihoods))]
    for _, group in known.groupby(SAME_TEXT, dropna=False):
        plain = group["compression"].isin(["none", None]) & group["backend"].isin(["eager", None])
        whole = group[(group["precision"] == "fp32") & plain]
        if whole.empty:
            continue
        for index, run in group.iterrows():
            alike = whole[whole["batch_size"] == run["batch_size"]]
            reference = (alike if len(alike) else whole).iloc[0]
            found = _paired(likelihoods[str(run["run_id"])], likelihoods[str(reference["run_id"])])
            if found is not None:
                runs.loc[index, "cross_entropy_difference"] = found.value
                runs.loc[index, "cross_entropy_difference_ci_low"] = found.low
                runs.loc[index, "cross_entropy_difference_ci_high"] = found.high
    return runs


def _paired(run: pd.DataFrame, reference: pd.DataFrame) -> Interval | None:
    """Mean difference a token, where the documents have the same tokens."""
    if len(run) != len(reference) or (run["tokens"] != reference["tokens"]).any():
        return None
    return ratio_interval(list(run["nats"] - reference["nats"]), list(run["tokens"]), seed=0)


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
