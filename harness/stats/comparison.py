"""Comparisons of two measurements: Welch's test, paired differences, and Holm's correction over many of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.stats.intervals import Interval


@dataclass(frozen=True)
class Comparison:
    """Two means compared.

    Attributes:
        ratio: The second over the first, with its 95 % interval.
        p: Probability of a difference at least as large if there were none.
    """

    ratio: Interval
    p: float


def compare_means(first: Sequence[float], second: Sequence[float]) -> Comparison | None:
    """Welch's t test on logarithms, so that the interval is one of the ratio of (geometric) means.

    None where either has fewer than two values, or a value that is not positive.
    """
    if min(len(first), len(second)) < 2 or min(*first, *second) <= 0:
        return None
    a, b = np.log(first), np.log(second)
    difference = float(b.mean() - a.mean())
    if a.std() == 0 and b.std() == 0:
        ratio = math.exp(difference)
        return Comparison(Interval(ratio, ratio, ratio), 1.0 if difference == 0 else 0.0)
    found = stats.ttest_ind(b, a, equal_var=False)
    interval = found.confidence_interval(0.95)
    return Comparison(
        Interval(math.exp(difference), math.exp(interval.low), math.exp(interval.high)), float(found.pvalue)
    )


def paired_p(differences: Sequence[float]) -> float | None:
    """Of a paired t test that the mean difference is 0; None for fewer than two pairs."""
    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return None
    if values.std() == 0:
        return 1.0 if values[0] == 0 else 0.0
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for their number (Holm 1979): the family-wise error stays below the level they are held to."""
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    adjusted, reached = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(order):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = reached
    return adjusted
