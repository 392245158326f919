"""Metrics of translations, by sacreBLEU (Post 2018), each with its signature and a bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics import BLEU, CHRF

RESAMPLES = 1000


class _Bleu(BLEU):  # type: ignore[misc]
    """sacreBLEU's, whose bootstrap mixes float and float32 where some resamples score 0: its mean then fails."""

    def _compute_score_from_stats(self, stats: Any) -> Any:
        score = super()._compute_score_from_stats(stats)
        score.score = float(score.score)
        return score


class _Chrf(CHRF):  # type: ignore[misc]
    """As `_Bleu`."""

    def _compute_score_from_stats(self, stats: Any) -> Any:
        score = super()._compute_score_from_stats(stats)
        score.score = float(score.score)
        return score


def translation_quality(translations: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """BLEU and chrF, 0 to 100, of translations with one reference each.

    Returns:
        `bleu` and `chrf`, each with `_ci_low` and `_ci_high` (95 %, bootstrap over pairs; None for a single pair) and
        `_signature`.
    """
    found: dict[str, Any] = {}
    for name, metric in (("bleu", _Bleu()), ("chrf", _Chrf())):
        several = len(translations) > 1
        score = metric.corpus_score(list(translations), [list(references)], n_bootstrap=RESAMPLES if several else 1)
        found[name] = float(score.score)
        found[f"{name}_ci_low"] = float(score._mean - score._ci) if several else None
        found[f"{name}_ci_high"] = float(score._mean + score._ci) if several else None
        found[f"{name}_signature"] = str(metric.get_signature())
    return found
