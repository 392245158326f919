"""The columns of a printed table: numbers as printed, intervals in one column, and what all runs share told once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.metrics.registry import BY_NAME, ENDS, Metric
from harness.report.marks import marked
from harness.report.seeds import is_over_seeds


@dataclass(frozen=True)
class Column:
    """One column of a printed table.

    Attributes:
        heading: With the unit.
        cells: As printed; a missing value is an empty string.
        numeric: Whether cells are plain numbers.
        bold: Which cells are the best, or cannot be told from it.
    """

    heading: str
    cells: list[str]
    numeric: bool
    bold: list[bool]

    @property
    def of_numbers(self) -> bool:
        """Whether cells are numbers, alone or with half of their interval."""
        return self.numeric or _with_half_widths(self.cells)


def columns_for(runs: pd.DataFrame, metrics: Sequence[Metric]) -> tuple[list[Column], str]:
    """Columns of some runs, and a sentence about those that have one value for all of them.

    Args:
        runs: The rows to print, in order.
        metrics: What to print, in order.
    """
    shown, shared = [], []
    names = {metric.name for metric in metrics}
    for metric in metrics:
        if _is_end(metric, names):
            continue
        cells = means_printed(runs, metric) if is_over_seeds(runs) else printed(runs, metric)
        if len(runs) > 1 and cells[0] and set(cells) == {cells[0]} and f"{metric.name}{ENDS[0]}" not in names:
            shared.append(f"{metric.phrase} {cells[0]}{f' {metric.unit}' if metric.unit else ''}")
            continue
        bold = [bool(best) for best in marked(runs, metric)]
        shown.append(Column(metric.axis, cells, not is_text(runs, metric) and not _with_half_widths(cells), bold))
        if f"{metric.name}{ENDS[0]}" in names:
            shown.append(_interval(runs, metric))
    return shown, f"All runs: {', '.join(shared)}." if shared else ""


def _is_end(metric: Metric, names: set[str]) -> bool:
    """Whether a column is an end of an interval whose value is there too."""
    return any(metric.name.endswith(end) and metric.name.removesuffix(end) in names for end in ENDS)


def _interval(runs: pd.DataFrame, metric: Metric) -> Column:
    ends = [printed(runs, BY_NAME[f"{metric.name}{end}"]) for end in ENDS]
    cells = [f"{low} to {high}" if low and high else "" for low, high in zip(*ends, strict=True)]
    return Column(f"{metric.label}, 95 %", cells, False, [False] * len(cells))


def printed(runs: pd.DataFrame, metric: Metric) -> list[str]:
    """A column as printed."""
    values = (value.item() if hasattr(value, "item") else value for value in runs[metric.name])
    return [format_value(value, metric) for value in values]


def _with_half_widths(cells: Sequence[str]) -> bool:
    return any("±" in cell for cell in cells)


def means_printed(runs: pd.DataFrame, metric: Metric) -> list[str]:
    """A column of means over seeds as printed: with half of the 95 % interval, where they have one."""
    ends = [f"{metric.name}{end}" for end in ENDS]
    if not set(ends) <= set(runs):
        return printed(runs, metric)
    halves = (runs[ends[1]].astype(float) - runs[ends[0]].astype(float)) / 2
    halves = halves.where(runs["seeds"] > 1)
    return [
        with_half_width(value, half, metric) if math.isfinite(half) and half > 0 else text
        for value, half, text in zip(runs[metric.name], halves, printed(runs, metric), strict=True)
    ]


def with_half_width(value: float, half_width: float, metric: Metric) -> str:
    """A value and half of its interval in the printed unit, to two digits of the latter."""
    value, half_width = value * metric.scale, half_width * metric.scale
    digits = 1 - math.floor(math.log10(half_width))
    rounded = [round(each, digits) for each in (value, half_width)]
    return " ± ".join(f"{each:.{max(0, digits)}f}" for each in rounded)


def is_text(runs: pd.DataFrame, metric: Metric) -> bool:
    """Whether a column holds words."""
    return any(isinstance(value, str) for value in runs[metric.name])


def format_value(value: object, metric: Metric) -> str:
    """A value in its printed unit; a missing one is an empty string."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    if isinstance(value, bool | str):
        return str(value)
    assert isinstance(value, int | float), f"{metric.name} is neither text nor a number"
    scaled = float(value) * metric.scale
    if not math.isfinite(scaled):
        return ""
    if scaled == int(scaled) and abs(scaled) < 10**metric.digits:
        return str(int(scaled))
    if abs(scaled) >= 10 ** (metric.digits - 1):
        return f"{scaled:.0f}"
    return f"{scaled:#.{metric.digits}g}".rstrip(".")


# Units that have a singular.
COUNTED = ("sequences", "tokens")


def in_words(metric: Metric, value: Any) -> str:
    """A value as a label, with its unit."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return f"no {metric.phrase}"
    number, unit = _number(value * metric.scale), metric.unit or metric.phrase
    return f"{number} {unit.removesuffix('s') if number == '1' and unit in COUNTED else unit}"


def short(metric: Metric, value: Any) -> str:
    """A value beside a point or at a tick, without its unit."""
    return value if isinstance(value, str) else "" if pd.isna(value) else _number(value * metric.scale)


def _number(scaled: float) -> str:
    """A whole number whole, as batch sizes and seeds are; others with four digits."""
    return f"{scaled:.0f}" if float(scaled).is_integer() and abs(scaled) < 1e9 else f"{scaled:.4g}"
