"""An energy figure and where it came from. A missing reading is None, never 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Method(StrEnum):
    """How an energy figure was obtained, from the best to the worst."""

    MEASURED_COUNTER = "measured_counter"
    INTEGRATED_POWER = "integrated_power"
    WALL_METER = "wall_meter"
    MODELLED = "modelled"
    UNAVAILABLE = "unavailable"

    @staticmethod
    def worst(methods: Sequence[Method]) -> Method:
        """The method that a sum over `methods` carries; UNAVAILABLE for none at all."""
        order = list(Method)
        return max(methods, key=order.index, default=Method.UNAVAILABLE)


@dataclass(frozen=True)
class EnergyFigure:
    """Energy of one component over one window.

    Attributes:
        component: `gpu`, `cpu`, `dram`, `soc` or `node`.
        value_j: Energy in joules, or None where there is no reading.
        low_j, high_j: Bounds in joules of what is systematic: counter resolution, or the two curves of a model.
        method: How it was obtained.
        source: What was read, for example `NVML total energy, GPU 0`.
        covers: What the figure includes: board, package, memory, node, or this process's share of a package.
        update_period_s: Seconds between two updates of the counter, if measured.
        notes: What a reader must know, such as the reason for a missing value.
    """

    component: str
    value_j: float | None
    low_j: float | None
    high_j: float | None
    method: Method
    source: str
    covers: str
    update_period_s: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = self.method is Method.UNAVAILABLE
        assert missing == (self.value_j is None), "a figure is unavailable exactly when it has no value"

    @property
    def relative_uncertainty(self) -> float | None:
        """Half the systematic interval over the value, or None where there is no value."""
        if self.value_j is None or self.low_j is None or self.high_j is None or self.value_j == 0:
            return None
        return (self.high_j - self.low_j) / 2 / self.value_j


def unavailable(component: str, source: str, reason: str) -> EnergyFigure:
    """A figure without a value, and why."""
    return EnergyFigure(component, None, None, None, Method.UNAVAILABLE, source, "", notes=(reason,))


@dataclass(frozen=True)
class TotalEnergy:
    """Sum over components. It has no value if any of them has none, and carries the worst method among them."""

    value_j: float | None
    low_j: float | None
    high_j: float | None
    method: Method
    components: tuple[str, ...]


def total(figures: Sequence[EnergyFigure]) -> TotalEnergy:
    """Add up the components of one window; `node`, which contains the others, stands alone where it is present."""
    counted = [figure for figure in figures if figure.component == "node" and figure.value_j is not None] or list(
        figures
    )
    names = tuple(figure.component for figure in counted)
    method = Method.worst([figure.method for figure in counted])
    if method is Method.UNAVAILABLE:
        return TotalEnergy(None, None, None, method, names)
    return TotalEnergy(
        value_j=_sum([figure.value_j for figure in counted]),
        low_j=_sum([figure.low_j for figure in counted]),
        high_j=_sum([figure.high_j for figure in counted]),
        method=method,
        components=names,
    )


def _sum(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) if len(present) == len(values) and values else None
