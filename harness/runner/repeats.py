"""How often a measurement is repeated: until its mean is known well enough, or a limit is met."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from harness.config.platform import ProtocolConfig
from harness.energy.meter import Window
from harness.metrics.efficiency import ratio
from harness.stats.intervals import mean_interval


def repeat_until_precise(protocol: ProtocolConfig, measure: Callable[[int], Window]) -> str:
    """Call `measure` with 1, 2, ... and return why it stopped.

    The mean that decides is that of joules per token, or of seconds per token where there is no energy.
    """
    started = time.perf_counter()
    windows: list[Window] = []
    for repeat in range(1, protocol.max_repeats + 1):
        windows.append(measure(repeat))
        interval = mean_interval(costs_per_token(windows))
        half_width = math.inf if interval is None else interval.relative_half_width
        if repeat >= protocol.min_repeats and half_width <= protocol.target_half_width:
            return f"half-width {half_width:.2%} is within {protocol.target_half_width:.2%}"
        if (time.perf_counter() - started) / 60 >= protocol.max_minutes:
            return f"limit of {protocol.max_minutes:g} minutes after {repeat} repeats"
    return f"limit of {protocol.max_repeats} repeats"


def costs_per_token(windows: Sequence[Window]) -> list[float]:
    """Joules per token of each window; seconds per token of each where any lacks its energy."""
    energies = [window.energy.value_j for window in windows]
    costs = [window.duration_s for window in windows] if None in energies else energies
    return [cost for cost in map(ratio, costs, [window.work.tokens for window in windows]) if cost is not None]
