"""An energy figure and where it came from. A missing reading is None, never 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, TypeVar

from harness.energy.period import PATIENCE_S
from harness.metrics.efficiency import complete_sum

# A window in which one update of the counter is more than this share of the energy is flagged.
SHORT_FOR_COUNTER = 0.05
SHORT_FLAG = "window_short_for_counter"
# A counter may stand still for this many of its periods: its updates come late at times.
STILL_PERIODS = 2
# Seconds between two updates of a counter whose period could not be measured: as long as counters are watched for it.
ASSUMED_PERIOD_S = PATIENCE_S
# Standard uncertainties on either side of a value in a 95 % interval.
COVERAGE = 1.96


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
        systematic_low_j, systematic_high_j: Bounds in joules of what does not average out: the sensor's gain, or the
            two curves of a model.
        method: How it was obtained.
        source: What was read, for example `NVML total energy, GPU 0`.
        covers: What the figure includes: board, package, memory, node, or this process's share of a package.
        update_period_s: Seconds between two updates of the counter, if measured.
        quantisation_j: Standard uncertainty in joules from where the edges fall between two updates: one update is 1.96
            of it. Over windows and components it adds up, and not in quadrature: a counter is late, so that every edge
            errs to the same side where what is around the windows draws less than they do.
        parts_j: What each board or zone adds, in joules, where the source tells them apart. A part of 0 J is one whose
            counter had no update within a stretch shorter than its period: a reading of a segment, of nothing longer.
        flags: Reason codes of doubts about this figure.
        notes: What a reader must know, such as the reason for a missing value.
    """

    component: str
    value_j: float | None
    systematic_low_j: float | None
    systematic_high_j: float | None
    method: Method
    source: str
    covers: str
    update_period_s: float | None = None
    quantisation_j: float = 0.0
    parts_j: tuple[float, ...] = ()
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = self.method is Method.UNAVAILABLE
        assert missing == (self.value_j is None), "a figure is unavailable exactly when it has no value"

    def flagged(self, *flags: str) -> EnergyFigure:
        """The figure with more reason codes."""
        return replace(self, flags=(*self.flags, *flags))

    def whole(self) -> EnergyFigure:
        """The figure of what is not part of something longer: unavailable if a counter did not move in it."""
        if 0 not in self.parts_j:
            return self
        doubts = (flag for flag in self.flags if flag != SHORT_FLAG)
        return unavailable(
            self.component, self.source, "a counter did not move within the window", "counter_stuck", *doubts
        )

    @property
    def low_j(self) -> float | None:
        """Lower end of the figure's interval: the systematic bound, less what the counter's updates may add."""
        return widened(self.systematic_low_j, -self.quantisation_j)

    @property
    def high_j(self) -> float | None:
        """Upper end of the figure's interval."""
        return widened(self.systematic_high_j, self.quantisation_j)

    @property
    def relative_uncertainty(self) -> float | None:
        """Half the interval over the value, or None where there is no value."""
        if self.value_j is None or self.low_j is None or self.high_j is None or self.value_j == 0:
            return None
        return (self.high_j - self.low_j) / 2 / self.value_j


def short_for_counter(quantisation_j: float, value_j: float) -> bool:
    """Whether the energy of one update of the counters is more than the share that is let pass."""
    return quantisation_j * COVERAGE > SHORT_FOR_COUNTER * value_j


def widened(bound_j: float | None, standard_uncertainty_j: float) -> float | None:
    """A bound, moved by 1.96 standard uncertainties in the direction of their sign, and not below 0."""
    return None if bound_j is None else max(0.0, bound_j + COVERAGE * standard_uncertainty_j)


def unavailable(component: str, source: str, reason: str, *flags: str) -> EnergyFigure:
    """A figure without a value, and why."""
    return EnergyFigure(component, None, None, None, Method.UNAVAILABLE, source, "", flags=flags, notes=(reason,))


@dataclass(frozen=True)
class Sensor:
    """What a source knows of its counter.

    Attributes:
        component, source, covers, method: As in the figures that it gives.
        gain: Relative uncertainty of the sensor's scale, the same in every window, which cancels in ratios.
        update_period_s: Seconds between two updates, if measured.
    """

    component: str
    source: str
    covers: str
    gain: float
    method: Method = Method.MEASURED_COUNTER
    update_period_s: float | None = None

    @property
    def period_s(self) -> float:
        """Seconds between two updates: measured, or assumed."""
        return self.update_period_s or ASSUMED_PERIOD_S

    def figure(
        self, parts_j: Sequence[float], duration_s: float, *notes: str, power_w: float | None = None
    ) -> EnergyFigure:
        """The figure of counters that moved by `parts_j` joules within `duration_s` seconds.

        A counter is late by up to a period: at the first edge it does not yet hold the last of what was before the
        window, at the second not yet the last of the window. Next to idling that errs to one side by up to one update,
        which is the half-width that is stated: the period times the window's power, by the counter itself or, where it
        is more, `power_w`, as the window's own reading may be the low one.

        A counter that had no update yet is a reading of 0 J, where the power is known; one that should have had one is
        none.
        """
        if 0 in parts_j and (not power_w or duration_s > STILL_PERIODS * self.period_s):
            reason = f"a counter did not move within {duration_s:.3g} s"
            return unavailable(self.component, self.source, reason, "counter_stuck")
        if self.update_period_s is None:
            notes = (*notes, f"update period not measured: {ASSUMED_PERIOD_S:g} s assumed")
        joules = math.fsum(parts_j)
        reading_w = joules / max(duration_s, self.period_s)
        quantisation_j = (reading_w if power_w is None else max(reading_w, power_w)) * self.period_s / COVERAGE
        return EnergyFigure(
            component=self.component,
            value_j=joules,
            systematic_low_j=joules * (1 - self.gain),
            systematic_high_j=joules * (1 + self.gain),
            method=self.method,
            source=self.source,
            covers=self.covers,
            update_period_s=self.update_period_s,
            quantisation_j=quantisation_j,
            parts_j=tuple(parts_j),
            flags=(SHORT_FLAG,) if short_for_counter(quantisation_j, joules) else (),
            notes=notes,
        )


@dataclass(frozen=True)
class TotalEnergy:
    """Sum over components. It has no value if any of them has none, and carries the worst method among them."""

    value_j: float | None
    systematic_low_j: float | None
    systematic_high_j: float | None
    method: Method
    components: tuple[str, ...]
    quantisation_j: float = 0.0

    @property
    def low_j(self) -> float | None:
        """Lower end of the sum's interval."""
        return widened(self.systematic_low_j, -self.quantisation_j)

    @property
    def high_j(self) -> float | None:
        """Upper end of the sum's interval."""
        return widened(self.systematic_high_j, self.quantisation_j)


class OfComponent(Protocol):
    """What is of one component: a figure, or what a source tells of itself."""

    @property
    def component(self) -> str:
        """Its name."""


Part = TypeVar("Part", bound=OfComponent)


def counted(parts: Sequence[Part]) -> list[Part]:
    """What a total is the sum of: `node`, which contains the others, alone where there is one, else everything."""
    return [part for part in parts if part.component == "node"] or list(parts)


def total(figures: Sequence[EnergyFigure]) -> TotalEnergy:
    """Add up the components of one window."""
    figures = counted(figures)
    return added(figures, tuple(figure.component for figure in figures))


def added(parts: Sequence[EnergyFigure] | Sequence[TotalEnergy], components: tuple[str, ...]) -> TotalEnergy:
    """The sum of components, or of windows, of which these are the components."""
    method = Method.worst([part.method for part in parts])
    if method is Method.UNAVAILABLE:
        return TotalEnergy(None, None, None, method, components)
    return TotalEnergy(
        value_j=complete_sum([part.value_j for part in parts]),
        systematic_low_j=complete_sum([part.systematic_low_j for part in parts]),
        systematic_high_j=complete_sum([part.systematic_high_j for part in parts]),
        method=method,
        components=components,
        quantisation_j=sum(part.quantisation_j for part in parts),
    )
