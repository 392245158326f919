"""One tidy data frame from the records of studies, by the columns of the metric registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from harness.config.fingerprint import replicate_fingerprint
from harness.errors import UserError
from harness.metrics.efficiency import complete_sum
from harness.metrics.registry import METRICS
from harness.record.environment import environment_fingerprint
from harness.record.migrate import migrated
from harness.record.record import read_record, record_folders
from harness.report.derive import losses_of, with_best, with_differences, with_ratios
from harness.report.external.read import unique_ids
from harness.report.files import Records, RunFiles
from harness.report.seeds import over_seeds
from harness.report.wording import OWN

# Parts of a record that hold others.
PARTS = ("cell", "config", "environment", "model", "data", "quality", "summary")


@dataclass(frozen=True)
class Collected:
    """Runs of one study or of several, and what had to be left out.

    Attributes:
        runs: One row a run, one column a metric.
        files: What the runs left beside their records.
        left_out: Folders whose record could not be read, and why.
    """

    runs: pd.DataFrame
    files: RunFiles
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def records(self) -> Records:
        """The records themselves, by run id; imported rows have none."""
        return Records(self.files.folders)

    @property
    def ok(self) -> pd.DataFrame:
        """The runs that have a result."""
        return self.runs[self.runs["status"] == "ok"]

    @cached_property
    def means(self) -> pd.DataFrame:
        """The runs that have a result, those that differ in nothing but their seed as one row."""
        means = over_seeds(self.runs)
        return means[means["status"] == "ok"]


def collect(*studies: Path, beside: Sequence[pd.DataFrame] = ()) -> Collected:
    """Read every record of some studies.

    Args:
        studies: Their folders. Run ids of several studies have the study's name before them.
        beside: Rows of other tools, with columns of the registry.

    Raises:
        UserError: If there is no such study, no record in it, or two have one name.
    """
    names = [study.name for study in studies]
    if len(set(names)) < len(names):
        raise UserError(f"two studies of one name: {', '.join(map(str, studies))}", remedy="rename one of the folders")
    rows: list[dict[str, Any]] = []
    folders: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    for study in studies:
        found = len(rows)
        for folder in record_folders(_existing(study)):
            # A merged run of another machine has that machine behind its name.
            name = folder.name if len(studies) == 1 else f"{study.name}/{folder.name}"
            try:
                record = _sound(migrated(_present(read_record(folder))))
            except ValueError as error:
                left_out[name] = str(error)
                continue
            config = record.get("config")
            replicate = replicate_fingerprint(config) if config else None
            own = {**row(record), "run_id": name, "origin": OWN, "replicate_fingerprint": replicate}
            if len(studies) > 1:
                teacher = own["teacher"] and f"{study.name}/{own['teacher']}"
                own |= {"study": study.name, "teacher": teacher}
            rows.append(own)
            folders[name] = folder
        if len(rows) == found:
            raise UserError(f"{study}: no readable record in it", remedy="run the study first: joulebench sweep ...")
    files = RunFiles(folders)
    runs = _frame([pd.DataFrame(rows), *beside])
    losses = losses_of(runs, files)
    return Collected(with_best(with_differences(with_ratios(runs), losses), losses), files, left_out)


def _frame(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows in one frame with a column a metric, in the registry's order."""
    columns = [metric.name for metric in METRICS]
    rows = [entry for part in parts for entry in part.to_dict("records")]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(run_id=unique_ids(list(frame["run_id"])))


def _existing(study: Path) -> Path:
    if not study.is_dir():
        known = sorted(path.name for path in study.parent.glob("*") if path.is_dir()) if study.parent.is_dir() else []
        raise UserError(
            f"{study}: no such study", allowed=known, remedy="run it first: joulebench sweep study=NAME ..."
        )
    return study


def _present(record: dict[str, Any] | None) -> dict[str, Any]:
    if record is None:
        raise ValueError("the record is gone")
    return record


def _sound(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose parts are what they must be.

    Raises:
        ValueError: If one is not.
    """
    wrong = [part for part in PARTS if not isinstance(record.get(part, {}), Mapping)]
    wrong += ["study"] if not isinstance(record.get("study"), str) else []
    if wrong:
        raise ValueError(f"the record's {' and '.join(wrong)} cannot be read")
    return record


def row(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as one row; what it lacks is None."""
    main = record.get("summary", {}).get("main_phase", "")
    found = {metric.name: _dig(record, metric.path.replace("{main}", main)) for metric in METRICS if metric.path}
    return {**found, **_of_short_trainings(record, found), **_of_earlier_versions(record, found)}


def _of_short_trainings(record: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """How energy was obtained where the main phase was too short for a repeat: as that of the whole run."""
    if found["repeats"] != 0 or found["run_energy_j"] is None:
        return {}
    read = {source["component"] for source in record.get("energy_sources", []) if source["method"] != "unavailable"}
    return {"energy_method": found["run_energy_method"], "energy_components": "+".join(sorted(read))}


def _of_earlier_versions(record: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What earlier versions wrote otherwise, or not at all."""
    columns: dict[str, Any] = {}
    low = found["joules_per_token_ci_low"]
    if low is not None and low < 0:
        columns["joules_per_token_ci_low"] = 0.0  # an end of an interval: no energy is negative
    environment = record.get("environment", {})
    if "variables" in environment and "packages" in environment:
        columns["environment_fingerprint"] = environment_fingerprint(environment)
    windows = list((record.get("summary", {}).get("all_windows") or {}).values())
    if found["run_energy_j"] is None and windows:
        for end in ("", "_low", "_high"):
            columns[f"run_energy{end}_j"] = complete_sum([window.get(f"total_energy{end}_j") for window in windows])
        method = found["energy_method"] or "unknown method"
        columns["run_energy_method"] = f"{method}, in windows" if columns["run_energy_j"] is not None else None
    for share in ("accuracy", "pass_at_k", "bleu", "chrf"):
        if found[f"{share}_ci_low"] is not None and found[f"{share}_ci_low"] == found[f"{share}_ci_high"]:
            # All resamples alike: that says nothing of other examples.
            columns |= {f"{share}_ci_low": None, f"{share}_ci_high": None}
    return columns


def _dig(record: Mapping[str, Any], path: str) -> Any:
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def with_runs(collected: Collected, runs: pd.DataFrame) -> Collected:
    """The same with other or more columns, such as those of a site."""
    return replace(collected, runs=runs)
