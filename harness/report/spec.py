"""What a figure shows: one entry of a figure list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["pareto", "lines", "curves", "power-law"]


@dataclass(frozen=True)
class FigureSpec:
    """One entry of a figure list; see default_figures.yaml for the meaning of each key."""

    name: str
    kind: Kind
    x: str
    y: str
    series: tuple[str, ...]
    x_error: str | None = None
    y_error: str | None = None
    y_interval: bool = False
    each: str | None = None
    where: dict[str, Any] = field(default_factory=dict)
    reference_exponent: float | None = None
    reference: str | None = None
