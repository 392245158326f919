"""What makes a window doubtful, as reason codes. A flagged window stays in the raw rows.

| flag | meaning |
|---|---|
| `interrupted` | an error ended the window; excluded from means |
| `window_too_short` | shorter than the protocol's window; excluded from means |
| `window_short_for_counter` | one update of a counter is more than 5 % of the window's energy |
| `counter_lost`, `counter_stuck`, `counter_jump` | a counter failed, stood still, or moved impossibly: no figure |
| `contended_host`, `foreign_gpu_process` | somebody else used the machine |
| `throttled` | at some sample, the board lowered its clocks at a limit of power or temperature |
| `temperature_drift`, `clock_drift` | temperature or clock differ between the window's first and last second |
| `trace_differs`, `trace_inconsistent` | counter and integrated power differ by 5 %, 10 % more than updates explain |
| `idle_mismatch` | of a run: idle power before and after the work differ by more than 5 %; net energy is empty |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from harness.energy.figure import COVERAGE, EnergyFigure, Method
from harness.energy.trace import PowerSampler, Sample, held_energy_j
from harness.metrics.efficiency import complete_sum

# Repeats with these flags stay in windows.parquet and are left out of means; other flags are only reported.
EXCLUDED = frozenset({"interrupted", "window_too_short"})

TRACE_DIFFERS = 0.05
TRACE_INCONSISTENT = 0.10


@dataclass(frozen=True)
class Limits:
    """When a window is flagged.

    Attributes:
        shortest_s: Shortest measured repeat in seconds.
        foreign_cpu_share: Largest share of the machine's CPU seconds that others may use.
        temperature_drift_c: Largest change of temperature in degrees Celsius from the first to the last second.
        clock_drift: Largest relative change of the mean clock from the first to the last second.
    """

    shortest_s: float = 0.0
    foreign_cpu_share: float = 0.05
    temperature_drift_c: float = 10.0
    clock_drift: float = 0.05


def trace_flags(sampler: PowerSampler, start_s: float, end_s: float, limits: Limits) -> Iterator[str]:
    """Flags of the trace: what disturbed a device, and drift of temperature and clock."""
    samples = sampler.inside(start_s, end_s)
    yield from sorted({flag for sample in samples for flag in sample.flags})
    if _drift(samples, "temperature_c", start_s, end_s) > limits.temperature_drift_c:
        yield "temperature_drift"
    if _drift(samples, "clock_mhz", start_s, end_s, relative=True) > limits.clock_drift:
        yield "clock_drift"


def counted_energy(figures: Sequence[EnergyFigure]) -> EnergyFigure | None:
    """The GPUs' counters among some figures; None where they were not read, or gave nothing."""
    counted = [figure for figure in figures if figure.component == "gpu" and figure.method is Method.MEASURED_COUNTER]
    return counted[0] if counted else None


def trace_energy_j(sampler: PowerSampler, boards: int, start_s: float, end_s: float) -> float | None:
    """Integral of the sampled power of the first GPUs; None where any of them was not sampled for a while.

    Only GPUs tell power beside energy: RAPL's power is itself the counter's difference. Both may come from one sensor,
    so that this finds a counter that is wrong about its sensor, and not a sensor that is wrong.
    """
    recent = sampler.inside(start_s - 1, end_s)
    names = sorted({sample.component for sample in recent if sample.component.startswith("gpu")}, key=_number)[:boards]
    integrals = [held_energy_j(sampler.between(name, start_s, end_s), start_s, end_s) for name in names]
    return complete_sum(integrals) if len(names) == boards else None


def _number(component: str) -> int:
    return int(component.removeprefix("gpu") or 0)


# Shorter than this, a few samples are no check of a counter.
CHECKED_FROM_S = 1.0


def trace_difference_flags(figure: EnergyFigure | None, trace_j: float | None, duration_s: float) -> Iterator[str]:
    """Flags of a counter that differs from integrated power by more than its updates explain."""
    if figure is None or not figure.value_j or not trace_j or duration_s < CHECKED_FROM_S:
        return
    excess_j = abs(figure.value_j - trace_j) - COVERAGE * figure.quantisation_j
    if excess_j > TRACE_INCONSISTENT * figure.value_j:
        yield "trace_inconsistent"
    elif excess_j > TRACE_DIFFERS * figure.value_j:
        yield "trace_differs"


def _drift(
    samples: Sequence[Sample],
    quantity: Literal["temperature_c", "clock_mhz"],
    start_s: float,
    end_s: float,
    relative: bool = False,
) -> float:
    """Largest change over components between the means of the first and the last second; 0 without two seconds."""
    largest = 0.0
    for name in {sample.component for sample in samples}:
        own = [sample for sample in samples if sample.component == name]
        first = _known(own, quantity, start_s, start_s + 1)
        last = _known(own, quantity, end_s - 1, end_s)
        if end_s - start_s >= 2 and first and last:
            change = abs(fmean(last) - fmean(first))
            largest = max(largest, change / fmean(first) if relative else change)
    return largest


def _known(samples: Sequence[Sample], quantity: str, start_s: float, end_s: float) -> list[float]:
    values = [getattr(sample, quantity) for sample in samples if start_s <= sample.time_s <= end_s]
    return [value for value in values if value is not None]
