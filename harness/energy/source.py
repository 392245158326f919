"""The protocol that every energy source follows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from harness.energy.figure import EnergyFigure, Method, Sensor
from harness.energy.trace import Sample


@dataclass(frozen=True)
class SourceInfo:
    """One line of `joulebench doctor`: what a source measures, or why it cannot."""

    component: str
    source: str
    method: Method
    covers: str
    update_period_s: float | None = None
    detail: str = ""
    remedy: str = ""

    @staticmethod
    def of(sensor: Sensor) -> SourceInfo:
        """The line of a sensor that works."""
        detail = f"scale known to {sensor.gain:.0%}"
        return SourceInfo(sensor.component, sensor.source, sensor.method, sensor.covers, sensor.update_period_s, detail)


class Source(Protocol):
    """Reads energy between two moments. Windows may nest and overlap: all state is in what `begin` returns."""

    def describe(self) -> list[SourceInfo]:
        """What this source reads."""
        ...

    def begin(self) -> Any:
        """Take the readings at the start of a window."""
        ...

    def end(self, state: Any, duration_s: float) -> list[EnergyFigure]:
        """Take the readings at the end of the window that `begin` opened, `duration_s` seconds ago."""
        ...

    def close(self) -> None:
        """Release what the source holds."""
        ...


@runtime_checkable
class OfDevices(Protocol):
    """A source of several devices, of which the run may use the first alone for a while."""

    def first_device(self) -> AbstractContextManager[None]:
        """Count the first device alone, inside."""
        ...


@runtime_checkable
class Sampled(Protocol):
    """A source whose power can be watched between the edges of windows."""

    def sample(self) -> Sequence[Sample]:
        """Read power, and what else the device tells, now."""
        ...
