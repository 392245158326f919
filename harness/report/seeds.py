"""One row a cell: means over its seeds, each with its interval, as papers show what was trained more than once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from harness.metrics.registry import ENDS, METRICS, Metric
from harness.report.derive import SAME_DOCUMENTS, with_ratios
from harness.stats.comparison import compare_means, holm
from harness.stats.intervals import Interval
from harness.stats.replicates import mean_over

BY = "Student's t over seeds"
# Runs that agree in these, and differ in nothing but their seed, are one row.
SAME_CELL = ["replicate_fingerprint", "study", "origin", "environment_fingerprint"]
# What no mean is taken of, though it may be a number.
OF_ONE_RUN = {"seed", "fingerprint", "started_at", "seeds", "p_best_likelihood"}
# Of these the fewest that a run has.
COUNTS = {"repeats", "score_repeats"}
# What a mean has of its own.
HALF_WIDTHS = {metric.error for metric in METRICS if metric.error}
AVERAGED = [
    metric
    for metric in METRICS
    if metric.name not in OF_ONE_RUN | HALF_WIDTHS | {"run_id"}
    and not metric.name.endswith(ENDS)
    and metric.name.removesuffix("_by") not in HALF_WIDTHS
]


def over_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that are ok, those of one cell as their mean over seeds.

    A mean has the columns `<name>_ci_low` and `<name>_ci_high`: its 95 % interval by Student's t, which holds both what
    another seed and what another measurement would give. Perplexities have geometric means and rates harmonic ones, so
    that a row's figures still belong together: a perplexity is exp of the cross entropy, and joules per token times
    tokens per second is the mean power. What a seed lacks is missing in the mean. What is the same for all seeds keeps
    the interval of the runs themselves. Runs of one seed are passed on as they are.

    Returns:
        `runs` itself where no cell has a second seed. Otherwise the means, with two more columns: `run_ids`, and
        `seeds`, how many.
    """
    ok = runs[runs["status"] == "ok"]
    known = ok[ok["replicate_fingerprint"].notna()]
    groups = [group for _, group in known.groupby(SAME_CELL, dropna=False, sort=False) if _has_a_mean(group)]
    if not groups:
        return runs
    several = pd.concat(groups)
    alone = ok.drop(several.index)
    means = pd.DataFrame([_mean_of(group) for group in groups], index=pd.Index([group.index[0] for group in groups]))
    single = alone.assign(seeds=1, run_ids=alone["run_id"].map(lambda run_id: [run_id]))
    rows = pd.concat([part.astype(object) for part in (means, single) if len(part)]).sort_index().infer_objects()
    ratios = [metric.name for metric in METRICS if metric.name.startswith("energy_ratio")]
    return _with_best(with_ratios(rows.assign(**dict.fromkeys(ratios))), several)


def is_over_seeds(runs: pd.DataFrame) -> bool:
    """Whether some rows are means over seeds."""
    return "run_ids" in runs and bool((runs["seeds"] > 1).any())


def run_ids_of(runs: pd.DataFrame) -> list[str]:
    """The runs behind some rows."""
    return sorted(runs["run_ids"].explode() if "run_ids" in runs else runs["run_id"])


def _has_a_mean(group: pd.DataFrame) -> bool:
    """Whether there are several seeds, with energies of one method. One that lacks energy is still of the cell."""
    return group["seed"].nunique() > 1 and len(set(group["energy_method"].dropna()) - {"unavailable"}) <= 1


def _mean_of(group: pd.DataFrame) -> dict[str, Any]:
    """One row for the seeds of a cell."""
    first = group.iloc[0]
    row: dict[str, Any] = {**{str(name): value for name, value in first.items()}, **dict.fromkeys(OF_ONE_RUN)}
    for metric in AVERAGED:
        values = group[metric.name].tolist()
        if pd.isna(values).all():
            continue
        if any(isinstance(value, str) for value in values):
            row[metric.name] = _word(metric, values)
        elif metric.name in COUNTS:
            row[metric.name] = min(values)
        elif len(set(values)) > 1:  # what is the same for all keeps its own interval
            row |= _columns(metric, mean_over(_by_seed(group, metric), metric.average))
    tokens, joules = row["tokens_per_second"], row["joules_per_token"]
    if not (pd.isna(tokens) or pd.isna(joules)):
        row["mean_power_w"] = tokens * joules  # energy over time, of seeds that do the same work
    p = group["p_best_likelihood"].unique()
    return row | {
        "run_id": f"{first['run_id']} and {len(group) - 1} more",
        "run_ids": list(group["run_id"]),
        "seeds": group["seed"].nunique(),
        "p_best_likelihood": p[0] if len(p) == 1 else None,
    }


def _by_seed(group: pd.DataFrame, metric: Metric) -> list[float]:
    """One value a seed: two runs of one seed are no two seeds."""
    values = [math.nan if value is None else float(value) for value in group[metric.name]]
    if group["seed"].is_unique:
        return values
    of_seed = pd.Series(values, index=group["seed"]).groupby(level=0)
    return [mean_over(list(own), metric.average).value for _, own in of_seed]


def _word(metric: Metric, values: Sequence[Any]) -> str | None:
    """What all seeds share, or what any of them is flagged with; nothing where they differ."""
    if metric.name == "flags":
        return ", ".join(sorted({flag for text in values if text for flag in str(text).split(", ")}))
    if metric.name == "energy_method" and "unavailable" in values:
        return "unavailable"  # The worst of its parts.
    return values[0] if len(set(values)) == 1 else None


def _columns(metric: Metric, mean: Interval) -> dict[str, Any]:
    columns: dict[str, Any] = {metric.name: mean.value}
    columns |= dict(zip((f"{metric.name}{end}" for end in ENDS), (mean.low, mean.high), strict=True))
    if metric.error:
        columns |= {metric.error: mean.relative_half_width, f"{metric.error}_by": BY}
    return columns


def _with_best(rows: pd.DataFrame, several: pd.DataFrame) -> pd.DataFrame:
    """The probability that each cell's loss is that of the best of the same text: Welch's test over seeds, and Holm's.

    Where the seed is nothing to any loss, the test over documents stays.
    """
    bits = several.dropna(subset=["bits_per_byte"]).set_index("run_id")["bits_per_byte"].astype(float)
    own = {index: [bits[each] for each in ids if each in bits] for index, ids in rows["run_ids"].items()}
    p_values: dict[Hashable, float] = rows["p_best_likelihood"].astype(float).to_dict()
    for _, group in rows.dropna(subset=["bits_per_byte"]).groupby(SAME_DOCUMENTS, dropna=False):
        if any(len(set(own[index])) > 1 for index in group.index):
            best = group["bits_per_byte"].astype(float).idxmin()
            tested = {index: compare_means(own[best], own[index]) for index in group.index if index != best}
            told = {index: each.p for index, each in tested.items() if each is not None}
            p_values |= dict.fromkeys(group.index, math.nan)
            p_values |= dict(zip(told, holm(list(told.values())), strict=True)) | ({best: 1.0} if told else {})
    return rows.assign(p_best_likelihood=pd.Series(p_values, dtype=float))
