"""Metrics of efficiency: each the ratio of two measured quantities, or None where one is missing."""

from __future__ import annotations


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """The quotient, or None where either is missing or the denominator is 0."""
    if numerator is None or denominator is None or denominator == 0:
        return None
    return numerator / denominator


def utilisation(flops: float | None, duration_s: float | None, peak_flops: float | None, devices: int) -> float | None:
    """MFU: FLOP/s over the dense peak FLOP/s of all devices, 0..1; None where the peak is unknown."""
    return ratio(ratio(flops, duration_s), None if peak_flops is None else peak_flops * devices)
