"""How often a counter moves: measured on the device, because published figures differ between drivers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise

PATIENCE_S = 0.6


def update_period_s(read: Callable[[], float], patience_s: float = PATIENCE_S, wanted: int = 8) -> float | None:
    """Median seconds between two changes of a counter, or None where it does not change often enough to tell.

    Args:
        read: Reads the counter, in any unit.
        patience_s: How long to watch.
        wanted: Enough changes to stop watching earlier.
    """
    moments: list[float] = []
    started = time.perf_counter()
    last = read()
    while time.perf_counter() - started < patience_s and len(moments) <= wanted:
        now = read()
        if now != last:
            moments.append(time.perf_counter())
            last = now
        time.sleep(0.0005)
    gaps = [after - before for before, after in pairwise(moments)]
    return statistics.median(gaps) if len(gaps) >= 2 else None
