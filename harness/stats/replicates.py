"""Means over replicates, such as seeds, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from statistics import fmean, stdev

from scipy import special

from harness.stats.intervals import Interval

# How values are turned before they are averaged, and how their mean is turned back.
AVERAGES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "arithmetic": (lambda x: x, lambda x: x),
    "geometric": (math.log, math.exp),
    "harmonic": (lambda x: 1 / x, lambda x: 1 / x),
}


def mean_over(values: Sequence[float], average: str = "arithmetic", level: float = 0.95) -> Interval:
    """The mean of replicates with Student's t interval, in the scale of the average.

    Args:
        values: One for each replicate, at least one.
        average: `arithmetic`; `geometric`, of logarithms; or `harmonic`, of reciprocals.
        level: Of the interval.

    Returns:
        Ends are NaN for a single value, and where the mean reciprocal may be 0. All is NaN where a value is missing, or
        not positive though its logarithm or reciprocal is asked for.
    """
    unknown = math.isnan(sum(values)) or (average != "arithmetic" and min(values) <= 0)
    if unknown:
        return Interval(math.nan, math.nan, math.nan)
    forward, back = AVERAGES[average]
    turned = [forward(value) for value in values]
    mean = fmean(turned)
    half = _quantile(len(turned), level) * stdev(turned) / math.sqrt(len(turned)) if len(turned) > 1 else math.nan
    if average == "harmonic" and not mean - half > 0:
        return Interval(back(mean), math.nan, math.nan)
    low, high = sorted((back(mean - half), back(mean + half)))
    return Interval(back(mean), low, high)


@cache
def _quantile(n: int, level: float) -> float:
    return float(special.stdtrit(n - 1, (1 + level) / 2))
