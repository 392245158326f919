"""What a cell will take, from cells that are finished: time and energy, each with an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.stats.intervals import Interval

# Axes that must agree in any case, and then those by which the nearest finished cells are found: all of them first.
SAME = ("task", "hardware", "device_name", "protocol")
LADDER = (
    ("model", "precision", "batch_size", "data", "compression", "backend"),
    ("model", "precision", "batch_size"),
    ("model", "precision"),
    ("model",),
    (),
)
# Of a prediction from fewer than three finished cells: a factor of three either way.
UNKNOWN_SIGMA = math.log(3) / 1.96

Axes = Mapping[str, Any]
"""A cell's axes; under `work`, how much it does, if that is more than its axes say: its cost is in proportion to it."""


@dataclass(frozen=True)
class _Group:
    """Logarithms of the finished cells that agree in some axes."""

    sum: float = 0.0
    count: int = 0

    def with_one(self, value: float) -> _Group:
        return _Group(self.sum + value, self.count + 1)

    def without(self, value: float) -> _Group:
        return _Group(self.sum - value, self.count - 1)


class Predictor:
    """Geometric means over the nearest finished cells; the interval is how far such a mean was from each of those.

    Args:
        finished: Axes of finished cells, with what each took.
    """

    def __init__(self, finished: Iterable[tuple[Axes, float]]) -> None:
        pairs = [(axes, math.log(value / _work(axes))) for axes, value in finished if value > 0]
        self._groups: dict[tuple[Any, ...], _Group] = {}
        for axes, value in pairs:
            for key in _keys(axes):
                self._groups[key] = self._groups.get(key, _Group()).with_one(value)
        self._sigmas = self._scatter(pairs)

    def _scatter(self, pairs: Sequence[tuple[Axes, float]]) -> list[float]:
        """By rung of the ladder: how far the finished cells were from what the others there say, in logarithms."""
        errors: list[list[float]] = [[] for _ in LADDER]
        for axes, value in pairs:
            for rung, key in enumerate(_keys(axes)):
                others = self._groups[key].without(value)
                if others.count:
                    errors[rung].append(value - others.sum / others.count)
        return [float(np.sqrt(np.mean(np.square(found)))) if len(found) >= 3 else UNKNOWN_SIGMA for found in errors]

    def predict(self, axes: Axes) -> Interval | None:
        """What a cell with these axes will take (95 %); None where nothing like it is finished."""
        for rung, key in enumerate(_keys(axes)):
            if key in self._groups:
                group = self._groups[key]
                mean, half = group.sum / group.count, 1.96 * self._sigmas[rung]
                work = _work(axes)
                return Interval(*(work * math.exp(end) for end in (mean, mean - half, mean + half)))
        return None


class CellPredictor:
    """What a cell takes, its training in proportion to its work, and all else as it is.

    Args:
        finished: Axes of finished cells, what each took in all, and its training of that; None where it is not known.
    """

    def __init__(self, finished: Iterable[tuple[Axes, float | None, float | None]]) -> None:
        known = [(axes, whole, training) for axes, whole, training in finished if whole]
        self._training = Predictor((axes, training) for axes, _, training in known if training)
        rests = ((axes, whole if training is None else whole - training) for axes, whole, training in known)
        self._rest = Predictor(({**axes, "work": 1.0}, rest) for axes, rest in rests)

    def predict(self, axes: Axes) -> Interval | None:
        """What a cell with these axes will take (95 %); None where nothing like it is finished."""
        rest, training = self._rest.predict({**axes, "work": 1.0}), self._training.predict(axes)
        if rest is None or training is None:
            return rest
        return Interval(*(getattr(rest, end) + getattr(training, end) for end in ("value", "low", "high")))


def _work(axes: Axes) -> float:
    return float(axes.get("work", 1.0))


def _keys(axes: Axes) -> list[tuple[Any, ...]]:
    """What a cell agrees in with others, from all axes to none; axes that an older record lacks are their defaults."""
    defaults = {"compression": "none", "backend": "eager"}
    same = tuple(axes.get(name) for name in SAME)
    return [
        (rung, same, tuple(axes.get(name, defaults.get(name)) for name in names)) for rung, names in enumerate(LADDER)
    ]
