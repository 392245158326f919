"""Power laws that level off: y = floor + factor * x ** exponent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from harness.stats.intervals import Interval

Array = npt.NDArray[np.float64]

# Sizes of exponents between which is searched: less is a logarithm, more is a step.
SMALLEST, LARGEST = 0.01, 5.0


@dataclass(frozen=True)
class Saturating:
    """y = floor + factor * x ** exponent, each with its interval.

    Attributes:
        floor: What y comes down to, in y's unit; never negative.
        factor: What x = 1 has above the floor, in y's unit; positive.
        exponent: Negative where y falls with x.
    """

    floor: Interval
    factor: Interval
    exponent: Interval

    def at(self, x: float) -> float:
        """The law's y."""
        return float(self.floor.value + self.factor.value * x**self.exponent.value)


def fit_saturating(x: Sequence[float], y: Sequence[float], level: float = 0.95) -> Saturating | None:
    """Least squares of relative errors, with profile-likelihood intervals (Bates and Watts 1988, chapter 6).

    For a given exponent the floor and the factor are a linear problem, so that only the exponent is searched for
    (variable projection, Golub and Pereyra 1973). An interval holds the values of a parameter at which the sum of
    squares, the others fitted anew, is at most 1 + F(level; 1, n - 3) / (n - 3) times the least.

    None where the law cannot be identified: fewer than five different x, a single y, a value that is not positive, no
    convergence, or an exponent whose interval is not within 0.01 to 5 of one sign. The last means that a constant or a
    step fits too: more x, or more distant ones, are needed. A floor whose interval begins at 0 is not shown to exist:
    the plain power law then says as much with one parameter less, and the intervals here cover more than their level.
    """
    if len(set(x)) < 5 or len(set(y)) < 2 or not all(0 < value < math.inf for value in (*x, *y)):
        return None
    center = float(stats.gmean(x))  # Powers of x over it stay near 1.
    points = _Points(np.asarray(x, dtype=float) / center, np.asarray(y, dtype=float))
    exponent = _best_exponent(points)
    if exponent is None:
        return None
    free = len(x) - 3
    limit = points.squares_at(exponent) * (1 + float(stats.f.ppf(level, 1, free)) / free)
    ends = [_crossing(points, limit, exponent, float(np.copysign(size, exponent))) for size in (SMALLEST, LARGEST)]
    if ends[0] is None or ends[1] is None:
        return None
    low, high = sorted((ends[0], ends[1]))
    at = points.at([exponent, *np.linspace(low, high, 401)])
    floor, factor = at.floor_interval(limit), at.factor_interval(limit, center**-at.exponents)
    return Saturating(floor, factor, Interval(exponent, low, high))


@dataclass(frozen=True)
class _Points:
    """Points (n,) in relative units of x."""

    x: Array
    y: Array

    def at(self, exponents: Sequence[float]) -> _Linear:
        """What is left to fit once the exponents (C,) are given."""
        c = np.asarray(exponents, dtype=float)
        return _Linear(c, 1 / self.y, self.x ** c[:, None] / self.y)

    def squares_at(self, exponent: float) -> float:
        """The least sum of squares with this exponent."""
        linear = self.at([exponent])
        return float(linear.squares(*linear.fitted())[0])


@dataclass(frozen=True)
class _Linear:
    """The problem floor * u + factor * v = 1, for each of C exponents.

    Attributes:
        exponents: (C,).
        u: 1 / y, (n,).
        v: x ** exponent / y, (C, n).
    """

    exponents: Array
    u: Array
    v: Array

    @property
    def sums(self) -> tuple[float, Array, Array, float, Array]:
        """Of the normal equations: u u, u v, v v, u 1, v 1."""
        return float(self.u @ self.u), self.v @ self.u, (self.v**2).sum(1), float(self.u.sum()), self.v.sum(1)

    def solved(self) -> tuple[Array, Array, Array]:
        """Floors and factors of least squares, of any sign, and the determinants."""
        uu, uv, vv, u1, v1 = self.sums
        det = uu * vv - uv**2
        return (vv * u1 - uv * v1) / det, (uu * v1 - uv * u1) / det, det

    def fitted(self) -> tuple[Array, Array]:
        """Floors and factors of least squares, none negative: where one would be, it is 0 and the other alone."""
        uu, _, vv, u1, v1 = self.sums
        floor, factor, _ = self.solved()
        no_floor, no_factor = floor < 0, factor < 0
        return (
            np.where(no_floor, 0.0, np.where(no_factor, u1 / uu, floor)),
            np.where(no_factor, 0.0, np.where(no_floor, v1 / vv, factor)),
        )

    def errors(self, floor: Array, factor: Array) -> Array:
        """Relative errors (C, n)."""
        found: Array = floor[:, None] * self.u + factor[:, None] * self.v - 1
        return found

    def squares(self, floor: Array, factor: Array) -> Array:
        """Sums of squares (C,)."""
        found: Array = (self.errors(floor, factor) ** 2).sum(1)
        return found

    def floor_interval(self, limit: float) -> Interval:
        """Floors of all (floor, factor) whose sum of squares is within the limit; the first exponent is the best."""
        floor, factor, det = self.solved()
        slack = np.maximum(limit - self.squares(floor, factor), 0)
        half = np.sqrt(slack * self.sums[2] / det)
        value = float(self.fitted()[0][0])
        return Interval(value, max(0.0, float((floor - half).min())), float((floor + half).max()))

    def factor_interval(self, limit: float, scale: Array) -> Interval:
        """Factors, times the scale (C,), of all (floor, factor) within the limit and with no negative floor."""
        uu, uv, vv, u1, v1 = self.sums
        floor, factor, det = self.solved()
        slack = np.maximum(limit - self.squares(floor, factor), 0)
        alone = v1 / vv  # Factors where the floor is 0.
        slack_alone = np.maximum(limit - self.squares(np.zeros_like(alone), alone), 0)
        ends = []
        for sign in (-1, 1):
            end = factor + sign * np.sqrt(slack * uu / det)
            floor_there = (u1 - uv * end) / uu
            ends.append(scale * np.where(floor_there < 0, alone + sign * np.sqrt(slack_alone / vv), end))
        return Interval(float((self.fitted()[1] * scale)[0]), float(ends[0].min()), float(ends[1].max()))


def _best_exponent(points: _Points) -> float | None:
    """The exponent of least squares, from the best of a grid on; None where the search does not converge."""
    sizes = np.geomspace(SMALLEST, LARGEST, 40)
    grid = points.at([*-sizes, *sizes])
    start = float(grid.exponents[np.argmin(grid.squares(*grid.fitted()))])

    def errors(exponent: Array) -> Array:
        linear = points.at([float(exponent[0])])
        found: Array = linear.errors(*linear.fitted())[0]
        return found

    bounds = (SMALLEST, LARGEST) if start > 0 else (-LARGEST, -SMALLEST)
    found = optimize.least_squares(errors, [start], bounds=bounds, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    return float(found.x[0]) if found.success else None


def _crossing(points: _Points, limit: float, inside: float, outside: float) -> float | None:
    """The exponent between the two at which the squares reach the limit; None if they never do."""
    if points.squares_at(outside) <= limit:
        return None
    return float(optimize.brentq(lambda exponent: points.squares_at(exponent) - limit, inside, outside, xtol=1e-9))
