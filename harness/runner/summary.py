"""From windows to the summary of a run: efficiency by phase, over the measured repeats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.config.platform import ProtocolConfig
from harness.config.schema import Config
from harness.energy.figure import COVERAGE, TotalEnergy
from harness.energy.host import own_cpu_seconds
from harness.energy.meter import EnergyMeter, Window
from harness.energy.segments import components_of, energy_over, merged_repeats, of_component
from harness.energy.validity import EXCLUDED
from harness.metrics.efficiency import complete_sum, ratio, utilisation
from harness.runner.idle import IdleBaseline, idle_baseline, idle_powers, is_mismatched
from harness.runner.metering import training_windows
from harness.runner.peaks import peak_cuda, peak_rss_bytes
from harness.stats.intervals import SEQUENTIAL_LEVEL, best_interval


def summarise(
    windows: Sequence[Window],
    config: Config,
    stop_reasons: dict[str, str],
    facts: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Efficiency of each phase that was to be repeated, energy of each phase in all, and peak memory.

    `facts` are what tasks found besides, by subject. A phase with a reason why it stopped repeating is there even if no
    window of it was long enough to be a repeat.
    """
    phases = {window.phase for window in windows if window.repeat is not None} | set(stop_reasons)
    return {
        "main_phase": config.task.main_phase,
        "idle": idle_powers(windows),
        "phases": {
            phase: {**_phase(windows, phase, config), "stop_reason": stop_reasons.get(phase, "")}
            for phase in sorted(phases)
        },
        "all_windows": {
            phase: _everything([window for window in windows if window.phase == phase])
            for phase in sorted({window.phase for window in windows})
        },
        # Every optimiser step, those of the warm-up included.
        **(facts or {}),
        "training": {**_everything(training_windows(windows)), **(facts or {}).get("training", {})},
        "peak_rss_bytes": peak_rss_bytes(),
        "peak_memory_allocated_bytes": peak_cuda("max_memory_allocated"),
        "peak_memory_reserved_bytes": peak_cuda("max_memory_reserved"),
        "own_cpu_s": sum(window.own_cpu_s for window in windows),
    }


def _net(
    used: Sequence[Window], idles: Sequence[Window], sums: _Sums, idle: IdleBaseline, relative_half_width: float | None
) -> dict[str, float | None]:
    """Gross energy minus idle power x time, and its uncertainty as the half-width of a 95 % interval.

    Four parts in quadrature: that of the gross energy (`relative_half_width`); half of what the baselines differ by
    over the same time, as idle power may have been anything between them; what the counters' updates add to the
    baselines; and the sensors' gain, which scales gross and idle alike and so counts on the difference only.
    """
    if sums.energy.value_j is None or sums.duration_s is None or idle.power_w is None or idle.half_difference_w is None:
        return {"net_energy_j": None, "net_energy_uncertainty_j": None, "net_joules_per_token": None}
    net = sums.energy.value_j - idle.power_w * sums.duration_s
    gain_j = _gain_of_net_j(used, idles, sums.energy.components, sums.duration_s)
    uncertainty = None
    if relative_half_width is not None and gain_j is not None:
        uncertainty = math.hypot(
            relative_half_width * sums.energy.value_j,
            idle.half_difference_w * sums.duration_s,
            COVERAGE * idle.quantisation_w * sums.duration_s,
            gain_j,
        )
    return {
        "net_energy_j": net,
        "net_energy_uncertainty_j": uncertainty,
        "net_joules_per_token": ratio(net, sums.tokens),
    }


def _gain_of_net_j(
    used: Sequence[Window], idles: Sequence[Window], components: Sequence[str], duration_s: float
) -> float | None:
    """What the sensors' scales may add to the net energy: each component's on its own net energy, added up."""
    parts: list[float | None] = []
    for name in components:
        gross = energy_over(of_component(used, name))
        low, high = gross.systematic_low_j, gross.systematic_high_j
        idle_w = idle_baseline(of_component(idles, name)).mean_w
        if not gross.value_j or low is None or high is None or idle_w is None:
            return None
        parts.append((high - low) / 2 / gross.value_j * abs(gross.value_j - idle_w * duration_s))
    return complete_sum(parts)


def invalid(summary: dict[str, Any], quality: dict[str, Any], protocol: ProtocolConfig) -> str:
    """Why a finished run must not be believed, or an empty string."""
    entropy = quality.get("cross_entropy_nats")
    if entropy is not None and not math.isfinite(entropy):
        return "the model diverged: its cross entropy is not a number"
    for phase, values in summary["phases"].items():
        for name, peak in (("mfu", "peak FLOP/s"), ("mbu", "memory bandwidth")):
            if values[name] is not None and values[name] > 1:
                return f"{phase}: {values[name]:.2f} of the hardware's {peak} is more than there is: check hardware="
        short = {"window_short_for_counter"} & set(values["flags"])
        if protocol.refuse_short_windows and values["repeats"] < protocol.min_repeats:
            return f"{phase}: {values['repeats']} repeats of full length, and protocol={protocol.name} asks for more"
        if protocol.refuse_short_windows and short:
            return f"{phase}: {', '.join(sorted(short))}, which protocol={protocol.name} refuses"
    return ""


def own_cost(meter: EnergyMeter, duration_s: float) -> dict[str, float]:
    """What the harness itself used: the sampler's CPU seconds, and the time outside all windows."""
    windows = meter.windows_of_this_session()
    inside = sum(window.duration_s for window in windows)
    return {
        "sampler_cpu_s": meter.sampler.cpu_s,
        "sampler_failures": meter.sampler.failures,
        "sampler_cpu_share": meter.sampler.cpu_s / duration_s,
        "outside_windows_s": duration_s - inside,
        "outside_windows_cpu_s": own_cpu_seconds() - sum(window.own_cpu_s for window in windows),
    }


def _efficiency(used: Sequence[Window], idles: Sequence[Window]) -> dict[str, Any]:
    """Power and energy per token over the repeats that count, gross and, over the idle windows, net."""
    sums = _Sums.over(used)
    interval = _token_interval(used, sums)
    return {
        "energy_method": sums.energy.method.value,
        "mean_power_w": ratio(sums.energy.value_j, sums.duration_s),
        "joules_per_token": ratio(sums.energy.value_j, sums.tokens),
        **interval,
        **_net(used, idles, sums, idle_baseline(idles), interval["joules_per_token_relative_half_width"]),
    }


def _of_components(used: Sequence[Window], idles: Sequence[Window]) -> dict[str, Any]:
    """Efficiency by each component as if it were the only one: its figure may be measured where the total is not."""
    return {name: _efficiency(of_component(used, name), of_component(idles, name)) for name in components_of(used)}


def _phase(windows: Sequence[Window], phase: str, config: Config) -> dict[str, Any]:
    repeats = merged_repeats(window for window in windows if window.phase == phase)
    used = [window for window in repeats if not EXCLUDED & set(window.flags)]
    # Of several devices, all train; what else there is, the first does alone.
    devices = config.hardware.devices if phase == "train" else 1
    # And idle power is that of all.
    idles = [window for window in windows if window.phase == "idle" and devices == config.hardware.devices]
    unflagged = _Sums.over([window for window in repeats if not window.flags])
    sums = _Sums.over(used)
    hardware = config.hardware
    mismatch = ["idle_mismatch"] if is_mismatched(idles) else []
    return {
        "repeats": len(used),
        "repeats_excluded": len(repeats) - len(used),
        "repeats_unflagged": sum(not window.flags for window in repeats),
        "flags": sorted({flag for window in repeats for flag in window.flags}) + mismatch,
        "duration_s": sums.duration_s,
        "tokens": sums.tokens,
        "samples": sums.samples,
        "iterations": sums.iterations,
        "text_bytes": sums.text_bytes,
        "flops": sums.flops,
        "tokens_per_second": ratio(sums.tokens, sums.duration_s),
        "mfu": utilisation(sums.flops, sums.duration_s, hardware.peak_flops.get(config.precision.compute), devices),
        "mbu": utilisation(sums.memory_bytes, sums.duration_s, hardware.memory_bandwidth_bytes_per_s, devices),
        **_efficiency(used, idles),
        "components": _of_components(used, idles),
        "joules_per_token_unflagged": ratio(unflagged.energy.value_j, unflagged.tokens),
        "gpu_trace_difference": _trace_difference(used),
        "joules_per_sample": ratio(sums.energy.value_j, sums.samples),
        "joules_per_step": ratio(sums.energy.value_j, sums.iterations),
        "joules_per_byte": ratio(sums.energy.value_j, sums.text_bytes),
        "joules_per_byte_low": ratio(sums.energy.low_j, sums.text_bytes),
        "joules_per_byte_high": ratio(sums.energy.high_j, sums.text_bytes),
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
    memory_bytes: float | None
    energy: TotalEnergy

    @classmethod
    def over(cls, windows: Sequence[Window]) -> _Sums:
        return cls(
            duration_s=complete_sum([window.duration_s for window in windows]),
            tokens=complete_sum([window.work.tokens for window in windows]),
            samples=complete_sum([window.work.samples for window in windows]),
            iterations=complete_sum([window.work.iterations for window in windows]),
            text_bytes=complete_sum([window.work.text_bytes for window in windows]),
            flops=complete_sum([window.work.flops for window in windows]),
            memory_bytes=complete_sum([window.work.memory_bytes for window in windows]),
            energy=energy_over(windows),
        )


def _token_interval(used: Sequence[Window], sums: _Sums) -> dict[str, Any]:
    """95 % intervals of joules per token, in parts.

    `random`: Student's t over repeats, or from ten on the BCa bootstrap (`interval` says which), relative; wider where
    the repeats went on until it was narrow, as all but those of a training do.
    `quantisation`: 1.96 standard uncertainties of the counters' updates at the windows' edges, relative.
    `relative_half_width`: both, in quadrature; what counts between cells of a machine.
    `low`, `high`: the bounds of what is systematic (sensor gain, or the model's two curves). `ci_low`, `ci_high`: the
    half-width, around these bounds.
    """
    costs = [ratio(window.energy.value_j, window.work.tokens) for window in used]
    level = 0.95 if used and used[0].phase == "train" else SEQUENTIAL_LEVEL
    found = best_interval([cost for cost in costs if cost is not None], seed=0, level=level)
    interval = None if found is None else found[0]
    low, high = ratio(sums.energy.systematic_low_j, sums.tokens), ratio(sums.energy.systematic_high_j, sums.tokens)
    quantisation = ratio(COVERAGE * sums.energy.quantisation_j, sums.energy.value_j)
    names = ("random", "quantisation", "relative_half_width", "low", "high", "ci_low", "ci_high")
    if interval is None or low is None or high is None or quantisation is None:
        return {f"joules_per_token_{name}": None for name in (*names, "interval")}
    half = math.hypot(interval.relative_half_width, quantisation)
    values = (interval.relative_half_width, quantisation, half, low, high, low * max(0.0, 1 - half), high * (1 + half))
    parts = {f"joules_per_token_{name}": value for name, value in zip(names, values, strict=True)}
    return {**parts, "joules_per_token_interval": None if found is None else found[1]}


def _energy(used: Sequence[Window], sums: _Sums) -> dict[str, Any]:
    per_component = {f"{name}_energy_j": _component(used, name) for name in components_of(used)}
    return {
        "total_energy_j": sums.energy.value_j,
        "total_energy_low_j": sums.energy.low_j,
        "total_energy_high_j": sums.energy.high_j,
        "energy_components": "+".join(sorted(sums.energy.components)),
        **per_component,
    }


def _trace_difference(windows: Sequence[Window]) -> float | None:
    """What the GPUs' integrated power has over their counters, relative."""
    traced = complete_sum([window.gpu_trace_j for window in windows])
    counted = _component(windows, "gpu")
    return None if traced is None or not counted else traced / counted - 1


def _component(windows: Sequence[Window], component: str) -> float | None:
    """Sum of one component; None where any window lacks it."""
    return energy_over(of_component(windows, component)).value_j


def _everything(windows: Sequence[Window]) -> dict[str, Any]:
    """Time and energy of some windows, whether repeats or not."""
    sums = _Sums.over(windows)
    return {
        "windows": len(windows),
        "duration_s": sums.duration_s,
        "total_energy_j": sums.energy.value_j,
        "total_energy_low_j": sums.energy.low_j,
        "total_energy_high_j": sums.energy.high_j,
    }


def run_energy(windows: Sequence[Window]) -> dict[str, Any]:
    """Time and energy of some windows, and how the energy was obtained."""
    return {**_everything(windows), "energy_method": energy_over(windows).method.value}
