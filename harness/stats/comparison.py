"""Comparisons: Welch's test, paired differences, non-inferiority, what equals the best, and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from scipy import stats

from harness.stats.intervals import Interval, mean_interval

Better = Literal["lower", "higher"]

# Family-wise error of what is said to differ from the best.
LEVEL = 0.05
# Half-width of a 95 % interval in standard errors.
NORMAL_95 = NormalDist().inv_cdf(0.975)


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


@dataclass(frozen=True)
class PairedDifference:
    """Two measurements of the same things.

    Attributes:
        difference: Mean of second minus first, in their unit, with its 95 % Student's t interval.
        p: Of a paired t test that the mean difference is 0.
    """

    difference: Interval
    p: float


def paired_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference | None:
    """What the second has over the first, pair by pair: the same seeds, prompts or documents in the same order.

    None for fewer than two pairs.

    Raises:
        ValueError: If they have not the same length.
    """
    differences = [b - a for a, b in zip(first, second, strict=True)]
    interval, p = mean_interval(differences), paired_p(differences)
    return None if interval is None or p is None else PairedDifference(interval, p)


@dataclass(frozen=True)
class NonInferiority:
    """Whether something is worse by less than a margin.

    Attributes:
        difference: Mean difference, in its unit, with its two-sided interval.
        margin: Largest loss that is accepted, in the same unit.
        p: Of a one-sided paired t test that the loss is the margin or more.
        holds: Whether that is rejected.
    """

    difference: Interval
    margin: float
    p: float
    holds: bool


def non_inferiority(
    differences: Sequence[float], margin: float, better: Better, level: float = 0.95
) -> NonInferiority | None:
    """One-sided paired t test of the differences (new minus reference, pair by pair) against a margin.

    Where lower is better, non-inferiority holds if the mean difference is shown to be below the margin; where higher is
    better, above minus the margin. The test is held to half of 1 - level, that is 2.5 %, so that it holds exactly if
    the whole two-sided interval is on the good side of the margin (ICH E9, 1998, sections 3.3.2 and 5.5; Walker and
    Nowacki 2011, Journal of General Internal Medicine 26:192). The margin must be fixed before one looks.

    None for fewer than two pairs.

    Raises:
        ValueError: If the margin is not positive.
    """
    if not margin > 0:
        raise ValueError(f"margin={margin:g} is not positive")
    losses = np.asarray(differences, dtype=float) * (1 if better == "lower" else -1)
    interval = mean_interval(differences, level)
    if interval is None:
        return None
    if np.ptp(losses) == 0:
        p = 0.0 if losses[0] < margin else 1.0
    else:
        p = float(stats.ttest_1samp(losses, margin, alternative="less").pvalue)
    return NonInferiority(interval, margin, p, p < (1 - level) / 2)


def not_distinguishable_from_best(
    values: Sequence[float], relative_half_widths: Sequence[float | None], better: Better
) -> list[bool]:
    """Which values are the best, or cannot be told from it: what a table may print in bold.

    The ratio of each to the best has an interval on a log scale, with the two 95 % half-widths added in quadrature. The
    p values that belong to these are corrected for their number (Holm): a comparison that is the only one is marked
    exactly if its interval holds 1. What is truly the best is marked in 95 % of tables or more. The best is picked by
    its value, though, so that of many equal ones some may go without a mark (of ten, in 13 % of tables).

    A value without a half-width (None or NaN), or of which no ratio can be made (missing or not positive), takes no
    part: it is never marked, and if it is the best itself, nothing is, because nothing is known then to equal the best.

    Raises:
        ValueError: If the lengths differ.
    """
    pairs = list(zip(values, relative_half_widths, strict=True))
    known = [number for number, value in enumerate(values) if not math.isnan(value)]
    compared = {number: half for number in known if (half := _half_width(*pairs[number])) is not None}
    best = (min if better == "lower" else max)(known, key=lambda number: values[number], default=None)
    if best not in compared:
        return [False] * len(pairs)
    others = [number for number in compared if number != best]
    p_values = [_p_of_ratio(values[n] / values[best], compared[n], compared[best]) for n in others]
    marked = {best} | {number for number, p in zip(others, holm(p_values), strict=True) if p >= LEVEL}
    return [number in marked for number in range(len(pairs))]


def _half_width(value: float, half_width: float | None) -> float | None:
    return half_width if value > 0 and half_width is not None and math.isfinite(half_width) else None


def _p_of_ratio(ratio: float, *half_widths: float) -> float:
    """Of a ratio of 1, from the relative 95 % half-widths of its two sides: to first order, those of the logarithms."""
    distance, error = abs(math.log(ratio)), math.hypot(*half_widths) / NORMAL_95
    if error == 0:
        return 1.0 if distance == 0 else 0.0
    return math.erfc(distance / error / math.sqrt(2))


def ratio_p(numerators: Sequence[float], denominators: Sequence[float]) -> float | None:
    """Of a t test that sum(numerators) / sum(denominators) is 0, over pairs; None for fewer than two.

    The variance of the ratio is that of its linearisation (Cochran 1977, section 2.11): that documents are of unlike
    length is then no scatter, as it is in a paired test of sums.
    """
    n, d = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if len(n) < 2 or d.sum() <= 0:
        return None
    residuals = n - n.sum() / d.sum() * d
    error = math.sqrt(float((residuals**2).sum()) * len(n) / (len(n) - 1))
    if error == 0:
        return 1.0 if n.sum() == 0 else 0.0
    return float(2 * stats.t.sf(abs(n.sum()) / error, len(n) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for their number (Holm 1979): the family-wise error stays below the level they are held to."""
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    adjusted, reached = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(order):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = reached
    return adjusted
