"""Which values of a column are the best, or cannot be told from it."""

from __future__ import annotations

import pandas as pd

from harness.metrics.registry import Metric
from harness.report.derive import COMPARABLE, SAME_DOCUMENTS
from harness.stats.comparison import LEVEL, not_distinguishable_from_best

PER_TOKEN = {"perplexity", "cross_entropy_nats"}
LIKELIHOODS = {"bits_per_byte", "byte_perplexity", "word_perplexity", "perplexity", "cross_entropy_nats"}
# Values are held against each other only among runs that agree in these; energies also in how they were obtained.
SAME_QUESTION = ["task", "data", "tokenizer"]


def marked(runs: pd.DataFrame, metric: Metric) -> pd.Series:
    """Which runs have the column's best value of their group, or one that cannot be told from it (mask by row).

    By 95 % intervals of the ratio to the best, corrected for their number (Holm). Where a run has no interval nothing
    is claimed of it, and a group of one has no best. Losses on the same documents are paired instead, as their
    intervals hold mostly how unlike the documents are.
    """
    mask = pd.Series(False, index=runs.index)
    if metric.name in LIKELIHOODS:
        best = (runs["p_best_likelihood"].astype(float) >= LEVEL) & runs[metric.name].notna()
        return best & one_tokenizer(runs) if metric.name in PER_TOKEN else best
    if metric.better == "" or not has_error(runs, metric):
        return mask
    known = runs[(runs["status"] == "ok") & runs[metric.name].notna()]
    energy = "joules" in metric.name or "energy" in metric.name
    for _, group in known.groupby(COMPARABLE if energy else SAME_QUESTION, dropna=False):
        if len(group) > 1:
            values = [float(value) for value in group[metric.name]]
            marks = not_distinguishable_from_best(values, half_widths(group, metric), metric.better)
            mask = mask | pd.Series(marks, index=group.index).reindex(mask.index, fill_value=False)
    return mask


def one_tokenizer(runs: pd.DataFrame) -> pd.Series:
    """Runs whose text was scored with their tokenizer alone, so that losses a token can be compared (mask by row)."""
    tokenizers = runs.groupby(SAME_DOCUMENTS, dropna=False)["tokenizer"].transform("nunique")
    return tokenizers <= 1


def has_error(runs: pd.DataFrame, metric: Metric) -> bool:
    """Whether there is an interval of a column."""
    return bool(metric.error) or f"{metric.name}_ci_low" in runs


def half_widths(runs: pd.DataFrame, metric: Metric) -> list[float | None]:
    """Relative 95 % half-width of random error of each run; None where it is unknown."""
    if metric.error:
        widths = runs[metric.error].astype(float)
    else:
        low, high = (runs[f"{metric.name}_ci_{end}"].astype(float) for end in ("low", "high"))
        widths = (high - low) / 2 / runs[metric.name].astype(float).abs()
    return [None if pd.isna(width) else float(width) for width in widths]
