"""Formulas that extend a measured energy to other work. Joules in, joules out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.stats.intervals import Interval


def training_flops(parameters: float, tokens: float) -> float:
    """6ND: FLOPs of training N parameters on D tokens.

    Forward and backward, without attention over the context (Kaplan et al. 2020, section 2.1; PaLM, appendix B).
    """
    return 6 * parameters * tokens


def forward_flops(parameters: float, tokens: float) -> float:
    """2ND: FLOPs of a forward pass of N parameters over D tokens, without attention over the context (as above)."""
    return 2 * parameters * tokens


def published_energy_kwh(chips: float, hours: float, watts: float, pue: float) -> float:
    """Energy of a training in kWh from what papers publish (Patterson et al. 2021, arXiv:2104.10350, section 2.5).

    Args:
        chips: Number of processors.
        hours: Duration of the training.
        watts: Mean power of a processor with its share of the system.
        pue: Power usage effectiveness of the data centre.
    """
    return chips * hours * watts * pue / 1000


@dataclass(frozen=True)
class Estimate:
    """An energy, or one of a unit of work, with its errors kept apart.

    Attributes:
        value: In joules, or joules a unit.
        low, high: Bounds of what is systematic, in the same unit.
        random: Half-width of the 95 % interval of what is random, over the value.
    """

    value: float
    low: float
    high: float
    random: float

    def times(self, amount: float) -> Estimate:
        """That of an amount of work."""
        return Estimate(self.value * amount, self.low * amount, self.high * amount, self.random)

    def interval(self, factor: float = 1.0) -> Interval:
        """The random half-width around the systematic bounds, all of it wider by `factor` either way."""
        low = self.low * max(0.0, 1 - self.random) / factor
        return Interval(self.value, low, self.high * (1 + self.random) * factor)


def total(estimates: Sequence[Estimate]) -> Estimate:
    """The sum of estimates by one meter: what is systematic adds up, what is random adds in quadrature."""
    value = sum(estimate.value for estimate in estimates)
    random = math.hypot(*(estimate.random * estimate.value for estimate in estimates)) / value
    return Estimate(
        value, sum(estimate.low for estimate in estimates), sum(estimate.high for estimate in estimates), random
    )
