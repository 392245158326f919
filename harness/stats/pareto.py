"""Pareto fronts of two quantities that are both better when smaller, and how sure each point's place on one is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Uncertain = tuple[float, float]
"""A mean and its standard error."""


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats, in order of the first coordinate.

    A point beats another if it is at most as large in both coordinates and smaller in one.
    """
    order = sorted(range(len(points)), key=lambda index: points[index])
    front: list[int] = []
    for index in order:
        on_front = not front or points[index][1] < points[front[-1]][1] or points[index] == points[front[-1]]
        if on_front:
            front.append(index)
    return front


def front_probability(points: Sequence[tuple[Uncertain, Uncertain]], seed: int, draws: int = 2000) -> list[float]:
    """Share of draws in which each point is on the front.

    Each coordinate of each point is drawn from a normal law, independently of all others. Standard errors are therefore
    those of random error alone: what is systematic moves all points of one machine together, and with it no point's
    place. Normal also for quantities that are positive: who beats whom depends on the order alone, so that a draw below
    0 does no harm. A share has a standard error of its own, sqrt(p (1 - p) / draws), at most 0.011 for 2,000 draws.

    A point off the front may have a good chance of being on it, and of many equal points on it each has a small one.

    Raises:
        ValueError: If a mean or an error is missing.
    """
    if not points:
        return []
    means, errors = np.moveaxis(np.asarray(points, dtype=float), 2, 0)
    if not np.isfinite([means, errors]).all():
        raise ValueError("a point has no mean or no standard error; leave it out")
    drawn = np.random.default_rng(seed).normal(means, errors, size=(draws, *means.shape))
    return [float(share) for share in _on_front(drawn[..., 0], drawn[..., 1]).mean(axis=0)]


def _on_front(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """As `pareto_front`, for each row of coordinates (draws, points) at once."""
    order = np.lexsort((y, x), axis=1)
    x, y = np.take_along_axis(x, order, axis=1), np.take_along_axis(y, order, axis=1)
    lowest = np.minimum.accumulate(y, axis=1)
    new = np.ones(y.shape, dtype=bool)
    new[:, 1:] = y[:, 1:] < lowest[:, :-1]
    # The last point so far that was lower than all before it: only its equals are on the front beside it.
    leader = np.maximum.accumulate(np.where(new, np.arange(y.shape[1]), 0), axis=1)
    equal = (x == np.take_along_axis(x, leader, axis=1)) & (y == np.take_along_axis(y, leader, axis=1))
    result: npt.NDArray[np.bool_] = np.empty_like(equal)
    np.put_along_axis(result, order, equal, axis=1)
    return result
