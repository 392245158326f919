"""The protocol that every energy source follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from harness.energy.figure import EnergyFigure, Method


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
