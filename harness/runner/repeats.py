"""How often a measurement is repeated: until its mean is known well enough, or a limit is met."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from harness.config.platform import ProtocolConfig
from harness.energy.meter import Window
from harness.metrics.efficiency import ratio
from harness.runner.turns import between_repeats, waited_s
from harness.stats.intervals import SEQUENTIAL_LEVEL, mean_interval


def repeat_until_precise(protocol: ProtocolConfig, measure: Callable[[int], Window]) -> str:
    """Call `measure` with 1, 2, ... and return why it stopped.

    The mean that decides is that of joules per token, or of seconds per token where there is no energy.
    """
    return repeat_in_turn(protocol, {"": measure})[""]


def repeat_in_turn(protocol: ProtocolConfig, measures: Mapping[str, Callable[[int], Window]]) -> dict[str, str]:
    """Repeat several measurements round by round, each until it is known well enough; returns why each stopped.

    In turn, so that a machine that grows slower does so for all of them. The limit of minutes is for all together,
    times their number.
    """
    started = time.perf_counter() - waited_s()
    windows: dict[str, list[Window]] = {name: [] for name in measures}
    reasons: dict[str, str] = {}
    for repeat in range(1, protocol.max_repeats + 1):
        for name in [name for name in measures if name not in reasons]:
            between_repeats()
            windows[name].append(measures[name](repeat))
            elapsed = (time.perf_counter() - waited_s() - started) / len(measures)
            if reason := _why_stop(protocol, windows[name], elapsed):
                reasons[name] = reason
    return {name: reasons.get(name, f"limit of {protocol.max_repeats} repeats") for name in measures}


def _why_stop(protocol: ProtocolConfig, windows: Sequence[Window], elapsed_s: float) -> str:
    """Why these repeats are enough, or an empty string."""
    interval = mean_interval(costs_per_token(windows), SEQUENTIAL_LEVEL)
    half_width = math.inf if interval is None else interval.relative_half_width
    if len(windows) >= protocol.min_repeats and half_width <= protocol.target_half_width:
        cost = "joules" if _have_energy(windows) else "seconds"
        return f"half-width {half_width:.2%} of {cost} per token is within {protocol.target_half_width:.2%}"
    if elapsed_s / 60 >= protocol.max_minutes:
        return f"limit of {protocol.max_minutes:g} minutes after {len(windows)} repeats"
    return ""


def costs_per_token(windows: Sequence[Window]) -> list[float]:
    """Joules per token of each window; seconds per token of each where any lacks its energy."""
    costs = [window.energy.value_j if _have_energy(windows) else window.duration_s for window in windows]
    return [cost for cost in map(ratio, costs, [window.work.tokens for window in windows]) if cost is not None]


def _have_energy(windows: Sequence[Window]) -> bool:
    return all(window.energy.value_j is not None for window in windows)
