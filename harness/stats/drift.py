"""Whether a run's repeats, in the order of time, can be taken for draws of one law: drift, scatter and outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

# Changes by this share or less are of no consequence, however sure they are.
MATERIAL = 0.02
LEVEL = 0.05
# Of fewer repeats no order is improbable enough: 2 of the 4! = 24 orders of four rise or fall throughout.
FEWEST = 5
# Standard deviation over the mean from which on a benchmark is called unstable (pyperf's).
SCATTER = 0.10
# Robust standard deviations from the median from which on a repeat is an outlier (hyperfine's). Fewer would be too few
# for a handful of repeats: of five normal ones, one is beyond 3.5 in 20 % of runs, and beyond 10 in 3 %.
OUTLIER = 10.0
# From the median absolute deviation to the standard deviation of a normal law.
MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Drift:
    """A trend over repeats.

    Attributes:
        relative_slope_per_repeat: Median slope between two repeats (Theil-Sen), over the median of the values.
        total_relative_change: That slope from the first repeat to the last.
        p: Of Kendall's rank test that the order is random (Mann 1945).
        has_drift: Whether p is below 0.05 and the change above 2 %.
    """

    relative_slope_per_repeat: float
    total_relative_change: float
    p: float
    has_drift: bool


def drift(values: Sequence[float]) -> Drift | None:
    """Trend of repeats in the order of time; None for fewer than five, or a median of 0."""
    center = float(np.median(values)) if len(values) >= FEWEST else 0.0
    if center == 0:
        return None
    if min(values) == max(values):
        return Drift(0.0, 0.0, 1.0, False)
    numbers = np.arange(len(values))
    slope = float(stats.theilslopes(values, numbers).slope) / abs(center)
    change = slope * (len(values) - 1)
    p = float(stats.kendalltau(numbers, values).pvalue)
    return Drift(slope, change, p, p < LEVEL and abs(change) > MATERIAL)


@dataclass(frozen=True)
class Instability:
    """Why the mean of some repeats is doubtful.

    Attributes:
        reason: `drift`, `scatter`, `first_repeat` (the first alone is an outlier) or `outliers`.
        text: What was seen, with numbers.
        repeats: The outliers' numbers, from 1.
    """

    reason: Literal["drift", "scatter", "first_repeat", "outliers"]
    text: str
    repeats: tuple[int, ...] = ()


def unstable(values: Sequence[float]) -> list[Instability]:
    """Everything that makes the mean of repeats, in the order of time, doubtful; empty where nothing does.

    Nothing is left out because of it: a reader is told. Drift and outliers need five repeats, scatter two.
    """
    if len(values) < 2:
        return []
    found = [_drift(values), _scatter(values), _outliers(values)]
    return [instability for instability in found if instability is not None]


def _drift(values: Sequence[float]) -> Instability | None:
    trend = drift(values)
    if trend is None or not trend.has_drift:
        return None
    change, verb = abs(trend.total_relative_change), "rise" if trend.relative_slope_per_repeat > 0 else "fall"
    return Instability("drift", f"the repeats {verb} by {change:.1%} from the first to the last (p {trend.p:.2g})")


def _scatter(values: Sequence[float]) -> Instability | None:
    mean, deviation = abs(float(np.mean(values))), float(np.std(values, ddof=1))
    if deviation <= SCATTER * mean:
        return None
    share = f"{deviation / mean:.0%} of the mean" if mean else "larger than the mean"
    return Instability("scatter", f"the standard deviation of the repeats is {share}")


def _outliers(values: Sequence[float]) -> Instability | None:
    """Repeats far from the median, by the median absolute deviation (Iglewicz and Hoaglin 1993) and in size."""
    center = float(np.median(values))
    distances = np.asarray(values, dtype=float) - center
    spread = MAD_TO_SD * float(np.median(np.abs(distances)))
    far = np.abs(distances) > max(OUTLIER * spread, MATERIAL * abs(center))
    if len(values) < FEWEST or not far.any() or center == 0:
        return None
    numbers = tuple(int(number) for number in np.flatnonzero(far) + 1)
    listed = ", ".join(f"{number} ({distances[number - 1] / abs(center):+.1%})" for number in numbers)
    text = f"of {len(values)} repeats, these are far from the median: {listed}"
    return Instability("first_repeat" if numbers == (1,) else "outliers", text, numbers)
