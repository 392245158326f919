"""Metrics of efficiency: each the ratio of two measured quantities, or None where one is missing."""

from __future__ import annotations

from collections.abc import Sequence


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """The quotient, or None where either is missing or the denominator is 0."""
    if numerator is None or denominator is None or denominator == 0:
        return None
    return numerator / denominator


def complete_sum(values: Sequence[float | None]) -> float | None:
    """The sum, or None where any value is missing or there is none at all."""
    present = [value for value in values if value is not None]
    return sum(present) if values and len(present) == len(values) else None


def utilisation(amount: float | None, duration_s: float | None, peak: float | None, devices: int) -> float | None:
    """MFU or MBU: FLOP/s, or bytes of memory traffic a second, over the peak of all devices, 0..1.

    None where the amount or the peak is unknown.
    """
    return ratio(ratio(amount, duration_s), None if peak is None else peak * devices)
