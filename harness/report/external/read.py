"""`FORMAT=PATH`: results of another tool as a data frame of our columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.errors import UserError, did_you_mean
from harness.metrics.registry import METRICS
from harness.report.external.codecarbon import read_codecarbon
from harness.report.external.lm_eval import read_lm_eval
from harness.report.external.ml_energy import read_ml_energy
from harness.report.external.optimum_benchmark import read_optimum_benchmark
from harness.report.external.rows import Row
from harness.report.external.tidy_csv import read_tidy_csv


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        read: Gives the rows of one file, or raises UserError.
        patterns: Its files within a folder; a later pattern counts only where no file matches an earlier one.
    """

    read: Callable[[Path], list[Row]]
    patterns: tuple[str, ...]


FORMATS = {
    "tidy-csv": Format(read_tidy_csv, ("*.csv",)),
    "lm-eval": Format(read_lm_eval, ("results_*.json",)),
    "optimum-benchmark": Format(read_optimum_benchmark, ("benchmark.json", "benchmark_report.json")),
    "codecarbon": Format(read_codecarbon, ("emissions*.csv",)),
    "ml-energy": Format(read_ml_energy, ("results.json", "*.json")),
}


def read_external(argument: str) -> pd.DataFrame:
    """Results of another tool, a row each; columns that no row has a value for are left out.

    Args:
        argument: `FORMAT=PATH`, with one of FORMATS. PATH is a file, or a folder: then its files at any depth.

    Raises:
        UserError: If the format is unknown, there is no such path or no such file in it, or a file is wrong or empty.
    """
    name, _, path = argument.partition("=")
    found = FORMATS.get(name)
    if found is None or not path:
        remedy = did_you_mean(name, FORMATS) if found is None else "give FORMAT=PATH"
        raise UserError(f"--import {argument}: no FORMAT=PATH of a known format", allowed=FORMATS, remedy=remedy)
    files = _files(Path(path).expanduser(), found, argument)
    rows = pd.DataFrame([row for file in files for row in found.read(file)])
    if rows.empty:
        raise UserError(f"--import {argument}: no run in it", remedy="check that the tool has ended its run")
    rows["run_id"] = unique_ids(list(rows["run_id"]))
    order = [metric.name for metric in METRICS if metric.name in rows and rows[metric.name].notna().any()]
    return rows[order]


def unique_ids(ids: list[str]) -> list[str]:
    """Run ids with a number behind all but the first of those that are alike."""
    seen: Counter[str] = Counter()
    unique = []
    for run_id in ids:
        seen[run_id] += 1
        unique.append(run_id if seen[run_id] == 1 else f"{run_id}-{seen[run_id]}")
    return unique


def _files(path: Path, found: Format, argument: str) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"--import {argument}: there is no {path}", remedy="give the file or the folder that it wrote")
    matches = (sorted(path.rglob(pattern)) for pattern in found.patterns)
    files = next((some for some in matches if some), [])
    if not files:
        raise UserError(
            f"--import {argument}: no {' or '.join(found.patterns)} in {path}", remedy="give one file of it"
        )
    return files
