"""Power, temperature and clocks over time: a sampler, and the integral that never loses constant power.

Zeus's `PowerMonitor` polls in a busy loop when it is given no period, and its `get_energy` integrates changes only,
so that constant power integrates to 0 J. Here a thread of our own sleeps between samples, and each sample is held until
the next one (zero-order hold), from window edge to window edge.
"""

from __future__ import annotations

import bisect
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

PERIOD_S = 0.1
# A stretch of this many periods without a sample is no reading of power.
MAX_GAP_PERIODS = 5

log = logging.getLogger("harness")


@dataclass(frozen=True)
class Sample:
    """One reading of one component. None where the device does not tell.

    Attributes:
        time_s: Monotonic seconds (`time.perf_counter`).
        component: `gpu`, `cpu`, ... with a device index where there are several, such as `gpu1`.
        watts: Power.
        temperature_c: Temperature in degrees Celsius.
        clock_mhz: Clock of the processor.
        flags: Reason codes of what disturbs the device at this moment.
    """

    time_s: float
    component: str
    watts: float | None
    temperature_c: float | None = None
    clock_mhz: float | None = None
    flags: tuple[str, ...] = ()


Probe = Callable[[], Sequence[Sample]]
"""Reads some components now."""


class PowerSampler:
    """A thread that calls probes at a fixed period and keeps what they return.

    Args:
        probes: What to read.
        period_s: Seconds between two samples.
    """

    def __init__(self, probes: Sequence[Probe], period_s: float = PERIOD_S) -> None:
        if period_s <= 0:
            raise ValueError(f"period_s={period_s}: a sampler without a period would never sleep")
        self._probes = list(probes)
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.samples: list[Sample] = []
        self.failures = 0
        self.cpu_s = 0.0

    def start(self) -> None:
        """Begin to sample; without probes there is nothing to start."""
        if self._probes:
            self._thread = threading.Thread(target=self._run, name="power-sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop and wait for the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        due = time.perf_counter()
        while not self._stop.is_set():
            for probe in self._probes:
                self._take(probe)
            self.cpu_s = time.thread_time()
            due = max(due + self._period_s, time.perf_counter())
            self._stop.wait(max(0.0, due - time.perf_counter()))

    def _take(self, probe: Probe) -> None:
        try:
            self.samples.extend(probe())
        except Exception as error:  # Whatever a driver raises: the trace has a gap, and the sampler goes on.
            self.failures += 1
            if self.failures == 1:
                log.warning("the sampler of power, temperature and clocks failed: %r", error)

    def inside(self, start_s: float, end_s: float) -> list[Sample]:
        """Samples of all components inside a stretch of time."""
        samples = self.samples
        first = bisect.bisect_left(samples, start_s, key=_moment)
        return samples[first : bisect.bisect_right(samples, end_s, key=_moment)]

    def between(self, component: str, start_s: float, end_s: float) -> list[Sample]:
        """Samples of a component inside a stretch of time, and the last one before it."""
        before = bisect.bisect_left(self.samples, start_s, key=_moment) - 1
        while before >= 0 and self.samples[before].component != component:
            before -= 1
        held = [self.samples[before]] if before >= 0 else []
        return held + [sample for sample in self.inside(start_s, end_s) if sample.component == component]


def held_energy_j(samples: Sequence[Sample], start_s: float, end_s: float) -> float | None:
    """Energy in joules of one component's power from `start_s` to `end_s`, each sample held until the next.

    None where it told no power for a while.
    """
    known = [(sample.time_s, sample.watts) for sample in samples if sample.watts is not None]
    moments = [start_s, *(max(start_s, moment) for moment, _ in known), end_s]
    if max(after - before for before, after in pairwise(moments)) > MAX_GAP_PERIODS * PERIOD_S:
        return None
    return hold_energy_j([moment for moment, _ in known], [watts for _, watts in known], start_s, end_s)


def _moment(sample: Sample) -> float:
    return sample.time_s


def hold_energy_j(times_s: Sequence[float], watts: Sequence[float], start_s: float, end_s: float) -> float | None:
    """Energy in joules from `start_s` to `end_s`, each sample held until the next (zero-order hold).

    The first sample also stands for what came before it inside the window.

    Returns:
        The integral, or None where no sample lies before the window's end.
    """
    known = [(moment, power) for moment, power in zip(times_s, watts, strict=True) if moment < end_s]
    if not known or end_s <= start_s:
        return None
    edges = [max(start_s, moment) for moment, _ in known[1:]] + [end_s]
    joules, edge = 0.0, start_s
    for (_, power), following in zip(known, edges, strict=True):
        joules += power * (following - edge)
        edge = following
    return joules
