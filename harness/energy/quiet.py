"""Whether the machine is quiet enough to measure now."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from harness.energy.host import foreign_seconds, machine_cpu_seconds, own_cpu_seconds
from harness.energy.source import Sampled, Source


@dataclass(frozen=True)
class Quietness:
    """What others do to this machine right now.

    Attributes:
        foreign_cpu_share: Share of the machine's CPU seconds that others used while we watched; None if it is not told.
        watched_s: For how long.
        limit: The largest share that the protocol lets pass.
        device_flags: Reason codes of what disturbs GPUs, such as processes of others; None if they cannot be asked.
    """

    foreign_cpu_share: float | None
    watched_s: float
    limit: float
    device_flags: tuple[str, ...] | None = ()

    @property
    def quiet(self) -> bool:
        """Whether a window measured now would have no flag of others."""
        return self.device_flags == () and self.foreign_cpu_share is not None and self.foreign_cpu_share <= self.limit


def watch(limit: float, seconds: float = 1.0, sources: Sequence[Source] = ()) -> Quietness:
    """Watch the machine, and the devices of some sources, for a moment."""
    sampled = [source for source in sources if isinstance(source, Sampled)]
    flags: tuple[str, ...] | None
    try:
        flags = tuple(sorted({flag for source in sampled for sample in source.sample() for flag in sample.flags}))
    except Exception:  # Whatever a driver raises.
        flags = None
    own, everyone, started = own_cpu_seconds(), machine_cpu_seconds(), time.perf_counter()
    time.sleep(seconds)
    watched = time.perf_counter() - started
    foreign = foreign_seconds(everyone, machine_cpu_seconds(), own_cpu_seconds() - own)
    share = None if foreign is None else foreign / (watched * (os.cpu_count() or 1))
    return Quietness(share, watched, limit, flags)
