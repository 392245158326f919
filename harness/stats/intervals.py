"""Confidence intervals of means and of ratios of sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A value and its bounds."""

    value: float
    low: float
    high: float

    @property
    def relative_half_width(self) -> float:
        """Half the width over the value; infinite for a value of 0."""
        return (self.high - self.low) / 2 / abs(self.value) if self.value else math.inf


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Student's t interval of the mean, or None for fewer than two values."""
    if len(values) < 2:
        return None
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], seed: int, level: float = 0.95, resamples: int = 2000
) -> Interval | None:
    """Percentile bootstrap of sum(numerators) / sum(denominators) over pairs, or None for fewer than two pairs.

    Pairs with a denominator of 0 carry nothing and are left out.
    """
    pairs = np.array([(n, d) for n, d in zip(numerators, denominators, strict=True) if d > 0], dtype=float)
    if len(pairs) < 2:
        return None
    chosen = np.random.default_rng(seed).integers(0, len(pairs), size=(resamples, len(pairs)))
    sums: npt.NDArray[np.float64] = pairs[chosen].sum(axis=1)
    ratios = sums[:, 0] / sums[:, 1]
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    total = pairs.sum(axis=0)
    return Interval(float(total[0] / total[1]), float(low), float(high))
