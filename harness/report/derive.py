"""Columns that need more than one run: energies over the cheapest run's, and losses over those of fp32."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from harness.report.files import LIKELIHOODS, RunFiles
from harness.stats.comparison import holm, ratio_p
from harness.stats.intervals import Interval, ratio_interval

# Runs that agree in all of these differ in nothing that would not cancel in the ratio of their energies.
COMPARABLE = [
    "task",
    "data",
    "tokenizer",
    "device_name",
    "environment_fingerprint",
    "energy_method",
    "energy_components",
    "origin",
    "study",
]


# Components that may stand in one sum, each with a scale of its own.
COMPONENTS = ("gpu", "cpu", "dram")
BOUNDS = ["joules_per_token_low", "joules_per_token_high"]
# Every way in which each of them may be at an end of what it may be.
_CORNERS = {f"scales {' '.join(ends)}": ends for ends in itertools.product(("low", "high"), repeat=len(COMPONENTS))}
SCALES = list(_CORNERS)


def with_ratios(runs: pd.DataFrame) -> pd.DataFrame:
    """Add joules per token over those of the cheapest comparable run that is ok, with an interval.

    The scale of a sensor, or of the modelled CPU, is common to comparable runs and cancels: what remains is random
    error; for a model of two curves, the range from the ratio under one curve to the ratio under the other; and, for a
    sum of components, the range over all ways in which their scales may be off, each by itself.
    """
    columns = list(runs)
    runs = pd.concat([runs, _scales(runs)], axis=1)
    half_width = "joules_per_token_relative_half_width"
    known = runs[(runs["status"] == "ok") & runs["joules_per_token"].notna()]
    for _, group in known.groupby(COMPARABLE, dropna=False):
        told = group[[*BOUNDS, half_width]].notna().all(axis=1)
        costs = ["joules_per_token", *(SCALES if group.loc[told, SCALES].notna().all(axis=None) else BOUNDS)]
        cheapest = group.sort_values("joules_per_token", kind="stable").iloc[0]
        if cheapest[[*costs, half_width]].isna().any():
            continue  # how far the others are from it is not known
        group = group[group[[*costs, half_width]].notna().all(axis=1)]
        ratios = group[costs].astype(float) / cheapest[costs].astype(float)
        spread = (group[half_width].astype(float) ** 2 + float(cheapest[half_width]) ** 2) ** 0.5
        spread[ratios["joules_per_token"] == 1.0] = 0.0
        runs.loc[group.index, "energy_ratio"] = ratios["joules_per_token"]
        # On a logarithmic scale, as no ratio is negative.
        runs.loc[group.index, "energy_ratio_ci_low"] = ratios.min(axis=1) * np.exp(-spread)
        runs.loc[group.index, "energy_ratio_ci_high"] = ratios.max(axis=1) * np.exp(spread)
    return runs[columns]


def _scales(runs: pd.DataFrame) -> pd.DataFrame:
    """Joules per token with the components' scales at their ends; missing where a record tells only the sum's bounds.

    Those of earlier versions do, and what a wall meter reads is no sum.
    """
    told = runs[[f"{name}_joules_per_token_{end}" for name in COMPONENTS for end in ("low", "high")]].astype(float)
    apart = told.notna().any(axis=1) & (runs["energy_components"] != "node")
    found = {
        corner: told[[f"{name}_joules_per_token_{end}" for name, end in zip(COMPONENTS, ends, strict=True)]].sum(axis=1)
        for corner, ends in _CORNERS.items()
    }
    return pd.DataFrame(found, index=runs.index).where(apart)


# Runs that agree in all of these scored the same tokens of the same text.
SAME_TEXT = [
    *("task", "model", "data", "tokenizer", "seed", "scored_tokens", "text_bytes"),
    *("score_context", "score_stride", "score_documents"),
]


Losses = Mapping[str, pd.DataFrame]
"""By run id: nats and tokens of each document that was scored."""


def losses_of(runs: pd.DataFrame, files: RunFiles) -> Losses:
    """The losses of all runs that have them, each read once."""
    found = {run_id: files.read(run_id, LIKELIHOODS) for run_id in runs.loc[runs["status"] == "ok", "run_id"]}
    return {run_id: frame for run_id, frame in found.items() if frame is not None}


def with_differences(runs: pd.DataFrame, losses: Losses) -> pd.DataFrame:
    """Add what each run loses against the same model in fp32, whole, in PyTorch: nats a token, document by document.

    The documents of one text are easy or hard for both, which cancels: the interval (95 %, bootstrap over documents) is
    much narrower than those of the two perplexities. The reference has the same batch size, or else is the first.
    """
    # Trainings with unlike budgets are no comparison of precisions.
    known = runs[runs["run_id"].isin(list(losses)) & (runs["task"] != "train")]
    plain = known["compression"].isin(["none", None]) & known["backend"].isin(["eager", None])
    whole = (known["precision"] == "fp32") & plain
    found: dict[Hashable, Interval] = {}
    for _, group in known.assign(whole=whole).groupby(SAME_TEXT, dropna=False):
        references = group[group["whole"]].drop_duplicates("batch_size")
        by_batch = dict(zip(references["batch_size"], references["run_id"], strict=True))
        for index, run_id, batch_size in zip(group.index, group["run_id"], group["batch_size"], strict=True):
            reference = by_batch.get(batch_size, next(iter(by_batch.values()), None))
            paired = None if reference is None else _paired(losses[run_id], losses[reference])
            if paired is not None:
                found[index] = paired
    name = "cross_entropy_difference"
    ends = {name: "value", f"{name}_ci_low": "low", f"{name}_ci_high": "high"}
    columns = {
        key: pd.Series({index: getattr(each, end) for index, each in found.items()}, dtype=float)
        for key, end in ends.items()
    }
    return runs.assign(**{key: column.reindex(runs.index) for key, column in columns.items()})


def _paired(run: pd.DataFrame, reference: pd.DataFrame) -> Interval | None:
    """Mean difference a token, where the documents have the same tokens."""
    if len(run) != len(reference) or (run["tokens"].to_numpy() != reference["tokens"].to_numpy()).any():
        return None
    return ratio_interval(list(run["nats"] - reference["nats"]), list(run["tokens"]), seed=0)


# Runs that agree in these scored the same documents, cut alike; their models and tokenizers may differ.
SAME_DOCUMENTS = ["task", "data", "text_bytes", "score_documents"]


def with_best(runs: pd.DataFrame, losses: Losses) -> pd.DataFrame:
    """Add the probability that each run's loss is that of the best run of the same text, and it looks worse by chance.

    By a t test of the difference a token, paired over documents, whose difficulty is common to both; corrected for the
    number of runs (Holm). The best run's is 1.
    """
    known = runs[runs["run_id"].isin(list(losses)) & runs["bits_per_byte"].notna()]
    found: dict[Hashable, float] = {}
    for _, group in known.groupby(SAME_DOCUMENTS, dropna=False):
        best = group["bits_per_byte"].astype(float).idxmin()
        own = {index: losses[str(run_id)] for index, run_id in group["run_id"].items()}
        # Without an interval over documents, the pieces are windows, which other tokenizers cut elsewhere.
        whole = dict(zip(group.index, group["bits_per_byte_ci_low"].notna(), strict=True))
        tested = {index: _worse(loss, own[best], whole[index]) for index, loss in own.items() if index != best}
        told = {index: p for index, p in tested.items() if p is not None}
        found.update(zip(told, holm(list(told.values())), strict=True))
        found.update({best: 1.0} if told else {})
    return runs.assign(p_best_likelihood=pd.Series(found, dtype=float).reindex(runs.index))


def _worse(run: pd.DataFrame, best: pd.DataFrame, documents: bool) -> float | None:
    """P of the paired test over documents; None for unlike ones."""
    if len(run) != len(best) or not (documents or run["tokens"].equals(best["tokens"])):
        return None
    return ratio_p(list(run["nats"] - best["nats"]), list(best["tokens"]))
