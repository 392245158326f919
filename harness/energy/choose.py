"""Which sources a run opens, from its `energy` and `hardware` options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.config.platform import EnergyConfig, HardwareConfig
from harness.energy.boards import SUPERCHIP
from harness.energy.cpu_model import RAPL_REMEDY, CpuModel, find_tdp
from harness.energy.figure import EnergyFigure, Method, unavailable
from harness.energy.gpu import open_gpus
from harness.energy.host import cpu_name, hardware_threads
from harness.energy.rapl import RaplSource
from harness.energy.soc import SocSource
from harness.energy.source import Source, SourceInfo
from harness.energy.wall import WallMeter

_SWITCHED_OFF = "counters are switched off by the energy option"


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
    """The sources of one run: GPUs where it uses them, CPU packages and memory, or the whole chip; and a wall meter."""
    sources: list[Source] = []
    if energy.counters or energy.cpu_model:
        host = [cpu_source(energy.counters, energy.cpu_model, hardware.cpu_tdp_w)] if energy.host else []
        if hardware.accelerator == "cuda":
            host = with_host(gpu_source(list(range(hardware.devices)), energy.counters), host)
        elif not energy.host:
            host = [MissingSource("gpu", "NVML", "the run uses no GPU", "choose a hardware= with one, or energy=auto")]
        sources.extend(host)
    if energy.wall_meter_csv is not None:  # Last: it waits for its log, and the counters' edges must not.
        sources.append(_wall(energy.wall_meter_csv, energy.wall_meter_accuracy))
    return sources


def with_host(gpu: Source, host: list[Source]) -> list[Source]:
    """GPUs beside their host, where neither's figure holds the other: a chip holds its GPU, a superchip its CPU."""
    if any(isinstance(source, SocSource) for source in host):
        return host
    holds_host = any(info.covers == SUPERCHIP for info in gpu.describe())
    return [gpu] if holds_host else [gpu, *host]


def gpu_source(indices: Sequence[int], counters: bool = True, uuids: Sequence[str] = ()) -> Source:
    """Some of the visible GPUs, by number or by what CUDA calls them, or what says why they cannot be read."""
    if not counters:
        return MissingSource("gpu", "NVML", _SWITCHED_OFF, "use energy=auto")
    try:
        return open_gpus(indices, uuids)
    except Exception as error:  # Whatever a driver's library raises is a counter that cannot be read.
        return MissingSource("gpu", "NVML", str(error) or repr(error), "check that nvidia-smi works here")


def cpu_source(counters: bool = True, model: bool = True, tdp_w: float | None = None) -> Source:
    """The chip, CPU packages and memory, or the modelled CPU, or what says why there is none of them."""
    reason = _SWITCHED_OFF
    if counters:
        try:
            with suppress(LookupError):
                return SocSource.open()
            return RaplSource.open()
        except Exception as error:  # As above.
            reason = str(error) or repr(error)
    if not model:
        return MissingSource("cpu", "RAPL", reason, RAPL_REMEDY)
    threads = os.cpu_count() or 1
    return CpuModel(find_tdp(cpu_name(), hardware_threads(), tdp_w), threads, f"no CPU counter: {reason}")


def _wall(path: str, accuracy: float) -> Source:
    try:
        return WallMeter(Path(path), accuracy)
    except LookupError as error:
        remedy = "let the logger append timestamp,watts to that file while the run goes on"
        return MissingSource("node", "wall meter", str(error), remedy)
