"""When a cost that is paid once (to compile, quantise, distil) has been saved again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.stats.intervals import Interval


@dataclass(frozen=True)
class BreakEven:
    """Units (tokens, steps, requests) after which a cost pays.

    Attributes:
        units: None where it never does.
        low, high: The interval; infinite where it may never pay.
        text: The same in words.
    """

    units: float | None
    low: float
    high: float
    text: str


def break_even(cost_once: Interval, saved_per_unit: Interval, unit: str = "units") -> BreakEven:
    """The cost over what a unit saves, in units.

    The interval is that of Fieller (1954) for the ratio of two independent estimates, by their bounds instead of their
    standard errors, so that it has their level and they need not be symmetric (MOVER-R; Donner and Zou 2012,
    Statistical Methods in Medical Research 21:347, equation 9). What may save nothing (bounds around 0) has no upper
    end. What is estimated to save nothing never pays; its lower end is then what the upper bound of saving would give.

    Args:
        cost_once: Cost in any unit, such as joules, with its 95 % interval.
        saved_per_unit: Saved a unit, in the same, likewise.
        unit: What is counted, in words.
    """
    low, high = _low(cost_once, saved_per_unit), _high(cost_once, saved_per_unit)
    if saved_per_unit.value <= 0:
        return BreakEven(None, low, high, _never(low, unit))
    units = max(0.0, cost_once.value / saved_per_unit.value)
    return BreakEven(units, low, high, _text(units, low, high, unit))


def _low(cost: Interval, saved: Interval) -> float:
    """The smaller root of (s^2 - hs^2) r^2 - 2 c s r + (c^2 - hc^2) = 0, in the form that holds for hs >= s too."""
    if cost.low <= 0:
        return 0.0
    if saved.high <= 0:
        return math.inf
    constant, _, larger = _quadratic(cost.value, cost.value - cost.low, saved.value, saved.high - saved.value)
    return constant / larger


def _high(cost: Interval, saved: Interval) -> float:
    """The larger root, which is infinite where the saving may be 0."""
    if saved.low <= 0:
        return math.inf
    _, leading, larger = _quadratic(cost.value, cost.high - cost.value, saved.value, saved.value - saved.low)
    return max(0.0, larger / leading)


def _quadratic(c: float, hc: float, s: float, hs: float) -> tuple[float, float, float]:
    """The equation's constant, its leading coefficient, and c s + sqrt((c s)^2 - leading x constant)."""
    constant, leading = (c - hc) * (c + hc), (s - hs) * (s + hs)
    # Without any uncertainty the root is of 0, and rounding may make that negative.
    return constant, leading, c * s + math.sqrt(max(0.0, (c * s) ** 2 - leading * constant))


def _text(units: float, low: float, high: float, unit: str) -> str:
    if high == 0:
        return "pays at once"
    if math.isinf(high):
        return f"pays after {_plain(units)} {unit} (95 %: {_plain(low)} or more; it may save nothing)"
    return f"pays after {_plain(units)} {unit} (95 %: {_plain(low)} to {_plain(high)})"


def _never(low: float, unit: str) -> str:
    if math.isinf(low):
        return "never pays: it saves nothing"
    return f"does not pay as measured; within the interval, not before {_plain(low)} {unit}"


def _plain(number: float) -> str:
    """Three digits, thousands apart, without an exponent."""
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
