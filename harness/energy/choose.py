"""Which sources a run opens, from its `energy` and `hardware` options."""

from __future__ import annotations

import os

from harness.config.platform import EnergyConfig, HardwareConfig
from harness.energy.cpu_model import CpuModel, cpu_name, find_tdp
from harness.energy.figure import EnergyFigure, Method, unavailable
from harness.energy.gpu import GpuSource
from harness.energy.rapl import CounterError, RaplSource
from harness.energy.source import Source, SourceInfo

RAPL_REMEDY = "make the counters readable (sudo chmod -R a+r /sys/class/powercap/intel-rapl) or run zeusd"


class MissingSource:
    """A component that a run uses and cannot read: every window says so instead of leaving it out."""

    def __init__(self, component: str, source: str, reason: str, remedy: str) -> None:
        self._info = SourceInfo(component, source, Method.UNAVAILABLE, "", detail=reason, remedy=remedy)

    def describe(self) -> list[SourceInfo]:
        """Why there is no reading, and what to do about it."""
        return [self._info]

    def begin(self) -> None:
        """Nothing to read."""

    def end(self, state: None, duration_s: float) -> list[EnergyFigure]:
        """A figure without a value."""
        return [unavailable(self._info.component, self._info.source, self._info.detail)]

    def close(self) -> None:
        """Nothing to release."""


def open_sources(energy: EnergyConfig, hardware: HardwareConfig) -> list[Source]:
    """The sources of one run: GPUs where it uses them, CPU packages and memory, or what stands in for them."""
    if not energy.counters and not energy.cpu_model:
        return []
    sources: list[Source] = []
    if hardware.accelerator == "cuda":
        sources.append(_gpu(energy, hardware))
    sources.append(_cpu(energy, hardware))
    return sources


def _gpu(energy: EnergyConfig, hardware: HardwareConfig) -> Source:
    if not energy.counters:
        return MissingSource("gpu", "NVML", "counters are switched off by the energy option", "use energy=auto")
    try:
        return GpuSource.open(hardware.devices)
    except LookupError as error:
        return MissingSource("gpu", "NVML", str(error), "check that nvidia-smi works here")


def _cpu(energy: EnergyConfig, hardware: HardwareConfig) -> Source:
    reason = "counters are switched off by the energy option"
    if energy.counters:
        try:
            return RaplSource.open()
        except CounterError as error:
            reason = str(error)
    if not energy.cpu_model:
        return MissingSource("cpu", "RAPL", reason, RAPL_REMEDY)
    threads = os.cpu_count() or 1
    return CpuModel(find_tdp(cpu_name(), threads, hardware.cpu_tdp_w), threads, f"no CPU counter: {reason}")
