"""From windows to the summary of a run: efficiency by phase, over the measured repeats."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.config.schema import Config
from harness.energy.figure import Method
from harness.energy.meter import Window
from harness.metrics.efficiency import ratio, utilisation
from harness.runner.precision import cuda_in_use
from harness.stats.intervals import mean_interval

# Repeats with these flags stay in windows.parquet and are left out of means; other flags are only reported.
EXCLUDED = frozenset({"interrupted", "window_too_short"})


def summarise(windows: Sequence[Window], config: Config, stop_reasons: dict[str, str]) -> dict[str, Any]:
    """Efficiency of each phase that has measured repeats, energy of each phase in all, and peak memory."""
    phases = {window.phase for window in windows if window.repeat is not None}
    return {
        "main_phase": config.task.main_phase,
        "phases": {
            phase: {**_phase(windows, phase, config), "stop_reason": stop_reasons.get(phase, "")}
            for phase in sorted(phases)
        },
        "all_windows": {phase: _everything(windows, phase) for phase in sorted({w.phase for w in windows})},
        "peak_rss_bytes": peak_rss_bytes(),
        "peak_memory_allocated_bytes": _peak_cuda("max_memory_allocated"),
        "peak_memory_reserved_bytes": _peak_cuda("max_memory_reserved"),
        "own_cpu_s": sum(window.own_cpu_s for window in windows),
    }


def _phase(windows: Sequence[Window], phase: str, config: Config) -> dict[str, Any]:
    repeats = [window for window in windows if window.phase == phase and window.repeat is not None]
    used = [window for window in repeats if not EXCLUDED & set(window.flags)]
    sums = _Sums.over(used)
    peak = config.hardware.peak_flops.get(config.precision.compute)
    return {
        "repeats": len(used),
        "repeats_excluded": len(repeats) - len(used),
        "flags": sorted({flag for window in repeats for flag in window.flags}),
        "duration_s": sums.duration_s,
        "tokens": sums.tokens,
        "samples": sums.samples,
        "iterations": sums.iterations,
        "text_bytes": sums.text_bytes,
        "flops": sums.flops,
        "tokens_per_second": ratio(sums.tokens, sums.duration_s),
        "mfu": utilisation(sums.flops, sums.duration_s, peak, config.hardware.devices),
        "mean_power_w": ratio(sums.energy_j, sums.duration_s),
        "joules_per_token": ratio(sums.energy_j, sums.tokens),
        **_token_interval(used, sums),
        "joules_per_sample": ratio(sums.energy_j, sums.samples),
        "joules_per_byte": ratio(sums.energy_j, sums.text_bytes),
        "joules_per_byte_low": ratio(sums.low_j, sums.text_bytes),
        "joules_per_byte_high": ratio(sums.high_j, sums.text_bytes),
        **_energy(used, sums),
    }


@dataclass(frozen=True)
class _Sums:
    """Sums over windows; None where any window lacks the figure, or there is no window."""

    duration_s: float | None
    tokens: float | None
    samples: float | None
    iterations: float | None
    text_bytes: float | None
    flops: float | None
    energy_j: float | None
    low_j: float | None
    high_j: float | None

    @classmethod
    def over(cls, windows: Sequence[Window]) -> _Sums:
        return cls(
            duration_s=_sum([window.duration_s for window in windows]),
            tokens=_sum([window.work.tokens for window in windows]),
            samples=_sum([window.work.samples for window in windows]),
            iterations=_sum([window.work.iterations for window in windows]),
            text_bytes=_sum([window.work.text_bytes for window in windows]),
            flops=_sum([window.work.flops for window in windows]),
            energy_j=_sum([window.energy.value_j for window in windows]),
            low_j=_sum([window.energy.low_j for window in windows]),
            high_j=_sum([window.energy.high_j for window in windows]),
        )


def _sum(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) if values and len(present) == len(values) else None


def _token_interval(used: Sequence[Window], sums: _Sums) -> dict[str, float | None]:
    """95 % intervals of joules per token.

    The narrow one (`_relative_ci_`) is random error alone, Student's t over repeats: it compares cells of one machine.
    The wide one (`_ci_`) adds what is systematic: from the lower to the upper bound of each figure's origin.
    """
    costs = [ratio(window.energy.value_j, window.work.tokens) for window in used]
    interval = mean_interval([cost for cost in costs if cost is not None])
    mean = ratio(sums.energy_j, sums.tokens)
    low, high = ratio(sums.low_j, sums.tokens), ratio(sums.high_j, sums.tokens)
    names = ("relative_half_width", "ci_low", "ci_high")
    if interval is None or mean is None or low is None or high is None:
        return {f"joules_per_token_{name}": None for name in names}
    half = interval.relative_half_width
    values = (half, low * (1 - half), high * (1 + half))
    return {f"joules_per_token_{name}": value for name, value in zip(names, values, strict=True)}


def _energy(used: Sequence[Window], sums: _Sums) -> dict[str, Any]:
    energies = [window.energy for window in used]
    components = sorted({name for energy in energies for name in energy.components})
    per_component = {f"{name}_energy_j": _component(used, name) for name in components}
    return {
        "total_energy_j": sums.energy_j,
        "total_energy_low_j": sums.low_j,
        "total_energy_high_j": sums.high_j,
        "energy_method": Method.worst([energy.method for energy in energies]).value,
        "energy_components": "+".join(components),
        **per_component,
    }


def _component(windows: Sequence[Window], component: str) -> float | None:
    """Sum of one component; None where any window lacks it."""
    by_window = [{figure.component: figure.value_j for figure in window.figures} for window in windows]
    return _sum([values.get(component) for values in by_window])


def _everything(windows: Sequence[Window], phase: str) -> dict[str, Any]:
    """Time and energy of all windows of a phase, whether repeats or not."""
    chosen = [window for window in windows if window.phase == phase]
    sums = _Sums.over(chosen)
    return {
        "windows": len(chosen),
        "duration_s": sums.duration_s,
        "total_energy_j": sums.energy_j,
        "total_energy_low_j": sums.low_j,
        "total_energy_high_j": sums.high_j,
    }


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_cuda(name: str) -> int | None:
    if not cuda_in_use():
        return None
    peak: int = getattr(torch.cuda, name)()
    return peak
