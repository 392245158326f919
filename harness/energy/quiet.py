"""Whether the machine is quiet enough to measure now."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from harness.energy.host import foreign_seconds, machine_cpu_seconds, own_cpu_seconds


@dataclass(frozen=True)
class Quietness:
    """What others do to this machine right now.

    Attributes:
        foreign_cpu_share: Share of the machine's CPU seconds that others used while we watched; None if it is not told.
        watched_s: For how long.
        limit: The largest share that the protocol lets pass.
    """

    foreign_cpu_share: float | None
    watched_s: float
    limit: float

    @property
    def quiet(self) -> bool:
        """Whether a window measured now would not be flagged contended_host."""
        return self.foreign_cpu_share is not None and self.foreign_cpu_share <= self.limit


def watch(limit: float, seconds: float = 1.0) -> Quietness:
    """Watch the machine for a moment."""
    own, everyone, started = own_cpu_seconds(), machine_cpu_seconds(), time.perf_counter()
    time.sleep(seconds)
    watched = time.perf_counter() - started
    foreign = foreign_seconds(everyone, machine_cpu_seconds(), own_cpu_seconds() - own)
    share = None if foreign is None else foreign / (watched * (os.cpu_count() or 1))
    return Quietness(share, watched, limit)
