"""Columns that need more than one run: energies over the cheapest run's, and losses over those of fp32."""

from __future__ import annotations

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


def with_differences(runs: pd.DataFrame, files: RunFiles) -> pd.DataFrame:
    """Add what each run loses against the same model in fp32, whole, in PyTorch: nats a token, document by document.

    The documents of one text are easy or hard for both, which cancels: the interval (95 %, bootstrap over documents) is
    much narrower than those of the two perplexities. The reference has the same batch size, or else is the first.
    """
    runs = runs.copy()
    # Trainings with unlike budgets are no comparison of precisions.
    known = runs[(runs["status"] == "ok") & (runs["task"] != "train")]
    known = known.loc[[index for index, run_id in known["run_id"].items() if files.has(run_id, LIKELIHOODS)]]
    for _, group in known.groupby(SAME_TEXT, dropna=False):
        plain = group["compression"].isin(["none", None]) & group["backend"].isin(["eager", None])
        whole = group[(group["precision"] == "fp32") & plain]
        if whole.empty:
            continue
        for index, run in group.iterrows():
            alike = whole[whole["batch_size"] == run["batch_size"]]
            reference = (alike if len(alike) else whole).iloc[0]
            sides = [files.read(str(each["run_id"]), LIKELIHOODS) for each in (run, reference)]
            found = _paired(*sides)
            if found is not None:
                runs.loc[index, "cross_entropy_difference"] = found.value
                runs.loc[index, "cross_entropy_difference_ci_low"] = found.low
                runs.loc[index, "cross_entropy_difference_ci_high"] = found.high
    return runs


def _paired(run: pd.DataFrame | None, reference: pd.DataFrame | None) -> Interval | None:
    """Mean difference a token, where the documents have the same tokens."""
    if run is None or reference is None or len(run) != len(reference) or (run["tokens"] != reference["tokens"]).any():
        return None
    return ratio_interval(list(run["nats"] - reference["nats"]), list(run["tokens"]), seed=0)


# Runs that agree in these scored the same documents, cut alike; their models and tokenizers may differ.
SAME_DOCUMENTS = ["data", "text_bytes", "score_documents"]


def with_best(runs: pd.DataFrame, files: RunFiles) -> pd.DataFrame:
    """Add the probability that each run's loss is that of the best run of the same text, and it looks worse by chance.

    By a t test of the difference a token, paired over documents, whose difficulty is common to both; corrected for the
    number of runs (Holm). The best run's is 1.
    """
    runs = runs.copy()
    known = runs[(runs["status"] == "ok") & runs["bits_per_byte"].notna()]
    for _, group in known.groupby(SAME_DOCUMENTS, dropna=False):
        losses = {index: files.read(str(run_id), LIKELIHOODS) for index, run_id in group["run_id"].items()}
        best = group["bits_per_byte"].astype(float).idxmin()
        tested = {index: _worse(loss, losses[best]) for index, loss in losses.items() if index != best}
        found = {index: p for index, p in tested.items() if p is not None}
        for index, p in zip(found, holm(list(found.values())), strict=True):
            runs.loc[index, "p_best_likelihood"] = p
        if found:
            runs.loc[best, "p_best_likelihood"] = 1.0
    return runs


def _worse(run: pd.DataFrame | None, best: pd.DataFrame | None) -> float | None:
    """P of the paired test over documents; None where there are none, or unlike ones."""
    if run is None or best is None or len(run) != len(best):
        return None
    return ratio_p(list(run["nats"] - best["nats"]), list(best["tokens"]))
