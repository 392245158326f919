"""The meter: windows of time, work and energy.

A window has edges: what was dispatched is finished first, the clock is monotonic, and every source is read at both, in
the same order, so that what reading takes is the same at both. Windows may nest and overlap. An error inside one closes
it, and it is kept as not ok. A source that raises loses its figure, and the run goes on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from harness.energy.figure import EnergyFigure, TotalEnergy, total, unavailable
from harness.energy.host import foreign_seconds, machine_cpu_seconds, own_cpu_seconds
from harness.energy.source import OfDevices, Sampled, Source, SourceInfo
from harness.energy.trace import PERIOD_S, PowerSampler
from harness.energy.validity import Limits, counted_energy, trace_difference_flags, trace_energy_j, trace_flags


@dataclass
class Work:
    """What was done inside a window. None means that it does not apply or is unknown.

    `memory_bytes` is the least traffic with memory that the work needs.
    """

    iterations: int | None = None
    samples: int | None = None
    tokens: int | None = None
    text_bytes: float | None = None
    flops: float | None = None
    memory_bytes: float | None = None

    @classmethod
    def of(cls, sums: Mapping[str, float | None]) -> Work:
        """Sums by name, where counts become whole numbers again."""
        whole = {name: None if sums[name] is None else round(sums[name] or 0) for name in COUNTS}
        return cls(**{**sums, **whole})  # type: ignore[arg-type]


COUNTS = ("iterations", "samples", "tokens")


@dataclass(frozen=True)
class Window:
    """A closed window.

    Attributes:
        phase: load, compile, warmup, idle, train, score, prefill or decode.
        repeat: Number of the measured repetition, or None for a window that is not one.
        start_s: Seconds since the meter was opened.
        duration_s: Length in seconds.
        label: What tells windows of one phase apart that are no repeats, such as the idle baselines.
        gpu_trace_j: Integral of the GPUs' sampled power, beside what their counters say; None where there is not both.
        own_cpu_s: CPU seconds of this process and its children.
        foreign_cpu_s: CPU seconds that everything else on this machine used; None where the system does not say.
        work: What was done.
        figures: Energy by component.
        flags: Reason codes of doubts about this window.
    """

    phase: str
    repeat: int | None
    start_s: float
    duration_s: float
    own_cpu_s: float
    foreign_cpu_s: float | None
    work: Work
    figures: tuple[EnergyFigure, ...]
    flags: tuple[str, ...]
    label: str = ""
    gpu_trace_j: float | None = None

    @property
    def energy(self) -> TotalEnergy:
        """Sum over components."""
        return total(self.figures)


@dataclass
class OpenWindow:
    """A window that has begun. `work` is filled in by whoever does the work.

    A `segment` is part of a repeat that pauses cut into several windows: it may be shorter than a repeat must be.
    """

    phase: str
    repeat: int | None
    started: float
    own_cpu_s: float
    all_cpu_s: float | None
    states: list[Any]
    label: str = ""
    work: Work = field(default_factory=Work)
    segment: bool = False


class EnergyMeter:
    """Opens and closes windows over some sources.

    Args:
        sources: Read at both edges of every window.
        synchronize: Waits until dispatched work is finished.
        limits: What flags a window.
        period_s: Seconds between two samples of power, where a source can be sampled.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        synchronize: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
        period_s: float = PERIOD_S,
    ) -> None:
        self._sources = list(sources)
        self._synchronize = synchronize
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self.origin = time.perf_counter()
        self.windows: list[Window] = []
        self.sampler = PowerSampler([source.sample for source in sources if isinstance(source, Sampled)], period_s)
        self.sampler.start()

    def describe(self) -> list[SourceInfo]:
        """What the sources measure."""
        return [info for source in self._sources for info in source.describe()]

    def begin(self, phase: str, repeat: int | None = None, label: str = "") -> OpenWindow:
        """Open a window."""
        self._synchronize()
        started = time.perf_counter()
        own, everyone = own_cpu_seconds(), machine_cpu_seconds()
        return OpenWindow(phase, repeat, started, own, everyone, [_begin(source) for source in self._sources], label)

    def end(self, window: OpenWindow, ok: bool = True, keep: bool = True) -> Window:
        """Close a window and keep it; or do not, where it is around others whose sums would count it twice."""
        with nullcontext() if ok else suppress(Exception):  # A device that failed cannot be waited for.
            self._synchronize()
        ended = time.perf_counter()
        duration = ended - window.started
        own = max(0.0, own_cpu_seconds() - window.own_cpu_s)  # A child that has ended takes its seconds along.
        foreign = foreign_seconds(window.all_cpu_s, machine_cpu_seconds(), own)
        edges = zip(self._sources, window.states, strict=True)
        figures = [figure for source, state in edges for figure in _end(source, state, duration)]
        if not window.segment:
            figures = [figure.whole() for figure in figures]
        counters = counted_energy(figures)
        boards = 0 if counters is None else len(counters.parts_j)
        trace_j = trace_energy_j(self.sampler, boards, window.started, ended)
        differences = trace_difference_flags(counters, trace_j, duration)
        closed = Window(
            phase=window.phase,
            repeat=window.repeat,
            start_s=window.started - self.origin,
            duration_s=duration,
            own_cpu_s=own,
            foreign_cpu_s=foreign,
            work=window.work,
            figures=tuple(figures),
            flags=tuple(dict.fromkeys((*self._flags(window, ended, figures, foreign, ok), *differences))),
            label=window.label,
            gpu_trace_j=trace_j,
        )
        if keep:
            with self._lock:
                self.windows.append(closed)
        return closed

    def _flags(
        self, window: OpenWindow, ended: float, figures: Sequence[EnergyFigure], foreign_cpu_s: float | None, ok: bool
    ) -> Iterator[str]:
        duration = ended - window.started
        if not ok:
            yield "interrupted"
        if window.repeat is not None and not window.segment and duration < self._limits.shortest_s:
            yield "window_too_short"
        limit_s = self._limits.foreign_cpu_share * duration * (os.cpu_count() or 1)
        if foreign_cpu_s is not None and foreign_cpu_s > limit_s:
            yield "contended_host"
        yield from (flag for figure in figures for flag in figure.flags)
        yield from trace_flags(self.sampler, window.started, ended, self._limits)

    @contextmanager
    def first_device(self) -> Iterator[None]:
        """Count the first of several devices alone, inside: the others have nothing to do there."""
        with ExitStack() as narrowed:
            for source in self._sources:
                if isinstance(source, OfDevices):
                    narrowed.enter_context(source.first_device())
            yield

    def windows_of_this_session(self) -> list[Window]:
        """Those that this meter has measured; those from before an interruption lie before its start."""
        return [window for window in self.windows if window.start_s >= 0]

    @contextmanager
    def window(self, phase: str, repeat: int | None = None, label: str = "") -> Iterator[OpenWindow]:
        """A window around a block; an exception inside it closes it as interrupted."""
        opened = self.begin(phase, repeat, label)
        try:
            yield opened
        except BaseException:
            self.end(opened, ok=False)
            raise
        self.end(opened)

    def close(self) -> None:
        """Stop sampling and release the sources."""
        self.sampler.stop()
        for source in self._sources:
            source.close()


@dataclass(frozen=True)
class _Failed:
    """In place of a source's state: what it raised."""

    error: Exception


def _begin(source: Source) -> Any:
    try:
        return source.begin()
    except Exception as error:  # Whatever a driver raises is a missing reading, not the end of the run.
        return _Failed(error)


def _end(source: Source, state: Any, duration_s: float) -> list[EnergyFigure]:
    try:
        if not isinstance(state, _Failed):
            return source.end(state, duration_s)
        error = state.error
    except Exception as raised:
        error = raised
    return [unavailable(info.component, info.source, repr(error), "counter_lost") for info in source.describe()]
