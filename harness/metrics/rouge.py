"""ROUGE (Lin 2004) of summaries, by the package rouge-score with its stemmer, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence

from rouge_score import rouge_scorer

from harness.stats.intervals import ratio_interval

KINDS = {"rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rouge_l"}


def rouge(summaries: Sequence[str], references: Sequence[str], seed: int) -> dict[str, float | None]:
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L, 0 to 1, each with `_ci_low` and `_ci_high` (95 %, over summaries)."""
    scorer = rouge_scorer.RougeScorer(list(KINDS), use_stemmer=True)
    scores = [scorer.score(reference, summary) for summary, reference in zip(summaries, references, strict=True)]
    found: dict[str, float | None] = {}
    for kind, name in KINDS.items():
        values = [score[kind].fmeasure for score in scores]
        interval = ratio_interval(values, [1] * len(values), seed)
        found[name] = sum(values) / len(values)
        found[f"{name}_ci_low"] = interval.low if interval else None
        found[f"{name}_ci_high"] = interval.high if interval else None
    return found
