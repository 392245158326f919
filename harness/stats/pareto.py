"""Pareto fronts of two quantities that are both better when smaller."""

from __future__ import annotations

from collections.abc import Sequence


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
