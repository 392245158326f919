"""The meter: windows of time, work and energy.

A window has edges: what was dispatched is finished first, the clock is monotonic, and every source is read at both.
Windows may nest and overlap. An error inside one closes it, and it is kept as not ok.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from harness.energy.cpu_model import own_cpu_seconds
from harness.energy.figure import EnergyFigure, TotalEnergy, total
from harness.energy.source import Source, SourceInfo

# A window is contended when others used more than this share of the machine's CPU seconds in it.
CONTENDED_SHARE = 0.05


@dataclass
class Work:
    """What was done inside a window. None means that it does not apply or is unknown."""

    iterations: int | None = None
    samples: int | None = None
    tokens: int | None = None
    text_bytes: float | None = None
    flops: float | None = None


@dataclass(frozen=True)
class Window:
    """A closed window.

    Attributes:
        phase: load, compile, warmup, idle, train, score, prefill or decode.
        repeat: Number of the measured repetition, or None for a window that is not one.
        start_s: Seconds since the meter was opened.
        duration_s: Length in seconds.
        own_cpu_s: CPU seconds of this process and its children.
        foreign_cpu_s: CPU seconds that everything else on this machine used.
        work: What was done.
        figures: Energy by component.
        flags: Reason codes of doubts about this window.
    """

    phase: str
    repeat: int | None
    start_s: float
    duration_s: float
    own_cpu_s: float
    foreign_cpu_s: float
    work: Work
    figures: tuple[EnergyFigure, ...]
    flags: tuple[str, ...]

    @property
    def energy(self) -> TotalEnergy:
        """Sum over components."""
        return total(self.figures)


@dataclass
class OpenWindow:
    """A window that has begun. `work` is filled in by whoever does the work."""

    phase: str
    repeat: int | None
    started: float
    own_cpu_s: float
    all_cpu_s: float
    states: list[Any]
    work: Work = field(default_factory=Work)


class EnergyMeter:
    """Opens and closes windows over some sources.

    Args:
        sources: Read at both edges of every window.
        synchronize: Waits until dispatched work is finished.
        shortest_s: A measured repeat shorter than this is flagged `window_too_short`.
    """

    def __init__(
        self, sources: Sequence[Source], synchronize: Callable[[], None] = lambda: None, shortest_s: float = 0.0
    ) -> None:
        self._sources = list(sources)
        self._synchronize = synchronize
        self._shortest_s = shortest_s
        self._origin = time.perf_counter()
        self.windows: list[Window] = []

    def describe(self) -> list[SourceInfo]:
        """What the sources measure."""
        return [info for source in self._sources for info in source.describe()]

    def begin(self, phase: str, repeat: int | None = None) -> OpenWindow:
        """Open a window."""
        self._synchronize()
        states = [source.begin() for source in self._sources]
        own, everyone = own_cpu_seconds(), machine_cpu_seconds()
        return OpenWindow(phase, repeat, time.perf_counter(), own, everyone, states)

    def end(self, window: OpenWindow, ok: bool = True) -> Window:
        """Close a window and keep it."""
        self._synchronize()
        ended = time.perf_counter()
        duration = ended - window.started
        figures = [
            figure
            for source, state in zip(self._sources, window.states, strict=True)
            for figure in source.end(state, duration)
        ]
        own = own_cpu_seconds() - window.own_cpu_s
        foreign = max(0.0, machine_cpu_seconds() - window.all_cpu_s - own)
        closed = Window(
            phase=window.phase,
            repeat=window.repeat,
            start_s=window.started - self._origin,
            duration_s=duration,
            own_cpu_s=own,
            foreign_cpu_s=foreign,
            work=window.work,
            figures=tuple(figures),
            flags=tuple(self._flags(window.repeat, duration, foreign, ok)),
        )
        self.windows.append(closed)
        return closed

    def _flags(self, repeat: int | None, duration: float, foreign_cpu_s: float, ok: bool) -> Iterator[str]:
        if not ok:
            yield "interrupted"
        if repeat is not None and duration < self._shortest_s:
            yield "window_too_short"
        if foreign_cpu_s > CONTENDED_SHARE * duration * (os.cpu_count() or 1):
            yield "contended_host"

    @contextmanager
    def window(self, phase: str, repeat: int | None = None) -> Iterator[OpenWindow]:
        """A window around a block; an exception inside it closes it as interrupted."""
        opened = self.begin(phase, repeat)
        try:
            yield opened
        except BaseException:
            self.end(opened, ok=False)
            raise
        self.end(opened)

    def close(self) -> None:
        """Release the sources."""
        for source in self._sources:
            source.close()


def machine_cpu_seconds() -> float:
    """CPU seconds that this machine has spent on anything but idling, stolen time included."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - guest)
