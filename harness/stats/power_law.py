"""Straight lines through logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class PowerLaw:
    """y = factor * x ** exponent, with an interval of the exponent."""

    factor: float
    exponent: float
    exponent_low: float
    exponent_high: float

    def at(self, x: float) -> float:
        """The law's y."""
        return float(self.factor * x**self.exponent)


def fit_power_law(x: Sequence[float], y: Sequence[float], level: float = 0.95) -> PowerLaw | None:
    """Least squares on the logarithms; None for fewer than three different x.

    The interval of the exponent is Student's t with n - 2 degrees of freedom: it holds the scatter about the line, and
    not that another seed or another range of x would give another line.
    """
    if len(set(x)) < 3:
        return None
    line = stats.linregress(np.log(x), np.log(y))
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 2) * line.stderr)
    slope = float(line.slope)
    return PowerLaw(float(np.exp(line.intercept)), slope, slope - half, slope + half)
