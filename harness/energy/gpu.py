"""GPUs through Zeus: energy counters where the boards have them, integrated power where they have not.

The monitor is opened for GPUs alone, because its `total_energy` sums GPUs only and its CPU zones double-count (see
`rapl.py`). It does not synchronise: the meter does that itself, since Zeus's own call raises beside a CPU-only torch.
"""

from __future__ import annotations

import itertools
import os
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.energy.figure import EnergyFigure, Method, Sensor, unavailable
from harness.energy.period import update_period_s
from harness.energy.source import SourceInfo
from harness.energy.trace import PERIOD_S, Sample, hold_energy_j

if TYPE_CHECKING:
    from zeus.monitor import ZeusMonitor

# Power sensors of NVIDIA boards are off by up to 5 %, in proportion: Yang, Adamek, Armour, "Accurate and Convenient
# Energy Measurements for GPUs", SC'24.
GAIN = 0.05

# NVML's reasons for lower clocks that mean a limit was met: software power cap, hardware slowdown, software and
# hardware thermal slowdown, hardware power brake.
THROTTLE_REASONS = 0x4 | 0x8 | 0x20 | 0x40 | 0x80


def open_gpus(indices: Sequence[int]) -> GpuCounters | GpuPower:
    """Some of the visible GPUs: by their counters, or by their power if one lacks a counter.

    Raises:
        LookupError: If there are fewer GPUs than asked for, or none that Zeus can read; it says why.
    """
    from zeus.device import get_gpus
    from zeus.device.exception import ZeusBaseGPUError
    from zeus.monitor import ZeusMonitor

    try:
        gpus = get_gpus()
    except (ZeusBaseGPUError, ValueError) as error:  # ValueError: CUDA_VISIBLE_DEVICES with UUIDs, in Zeus 0.16
        raise LookupError(f"no GPU counter: {error}") from error
    if len(gpus) <= max(indices):
        raise LookupError(f"Zeus sees {len(gpus)} GPU(s), and the run uses number {max(indices)}")
    boards = Boards(gpus, indices)
    if all(gpus.supports_get_total_energy_consumption(index) for index in boards.indices):
        return GpuCounters(ZeusMonitor(gpu_indices=boards.indices, cpu_indices=[]), boards)
    return GpuPower(boards)


class Boards:
    """Some GPUs of Zeus's, and what else they tell than energy."""

    def __init__(self, gpus: Any, indices: Sequence[int]) -> None:
        self.gpus = gpus
        self.indices = list(indices)
        self.name = f"{len(self.indices)} x {gpus.get_name(self.indices[0])}"

    def sample(self) -> list[Sample]:
        """Power, temperature and clock of each board now; what a board does not tell is None."""
        from zeus.device.exception import ZeusBaseGPUError

        samples = []
        for index in self.indices:
            try:
                watts = self.gpus.get_instant_power_usage(index) / 1000
                temperature = float(self.gpus.get_gpu_temperature(index))
            except (ZeusBaseGPUError, AttributeError):
                watts, temperature = None, None
            clock = self._nvml(index, "nvmlDeviceGetClockInfo", 1)  # 1: the streaming multiprocessors' clock
            samples.append(Sample(time.perf_counter(), f"gpu{index}", watts, temperature, clock))
        return samples

    def flags(self) -> tuple[str, ...]:
        """Reason codes of what disturbs these boards now: throttling, and processes of others."""
        flags = set()
        for index in self.indices:
            reasons = self._nvml(index, "nvmlDeviceGetCurrentClocksEventReasons")
            if reasons is not None and int(reasons) & THROTTLE_REASONS:
                flags.add("throttled")
            processes = self._nvml(index, "nvmlDeviceGetComputeRunningProcesses") or []
            if len([process for process in processes if process.pid != os.getpid()]) > _own_alias(processes):
                flags.add("foreign_gpu_process")
        return tuple(sorted(flags))

    def _nvml(self, index: int, function: str, *arguments: Any) -> Any:
        """A reading that Zeus does not offer, or None where the board or the vendor has none."""
        from zeus.device.gpu import nvidia

        handle = getattr(self.gpus.gpus[index], "handle", None)
        call = getattr(nvidia.pynvml, function, None)
        if handle is None or call is None:
            return None
        try:
            return call(handle, *arguments)
        except nvidia.pynvml.NVMLError:
            return None


def _own_alias(processes: Sequence[Any]) -> int:
    """1 if this process may be listed under another number, as in a container; 0 if it is listed under its own."""
    return 0 if any(process.pid == os.getpid() for process in processes) else 1


class GpuCounters:
    """Energy source: the total-energy counters of some GPUs, summed, through Zeus's monitor."""

    def __init__(self, monitor: ZeusMonitor, boards: Boards) -> None:
        self._monitor = monitor
        self._boards = boards
        self._keys = map("window-{}".format, itertools.count())
        period = update_period_s(lambda: float(boards.gpus.get_total_energy_consumption(boards.indices[0])))
        source = f"NVML total energy through Zeus, {boards.name}"
        self._sensor = Sensor("gpu", source, "GPU boards", GAIN, update_period_s=period)

    def describe(self) -> list[SourceInfo]:
        """One line for all boards."""
        return [SourceInfo.of(self._sensor)]

    def sample(self) -> list[Sample]:
        """Power, temperature and clock of each board."""
        return self._boards.sample()

    def begin(self) -> str | Exception:
        """Open a window of the monitor; the state is its key, or the error that prevented it."""
        from zeus.device.exception import ZeusBaseGPUError

        key = next(self._keys)
        try:
            self._monitor.begin_window(key, sync_execution=False)
        except ZeusBaseGPUError as error:
            failure: Exception = error
            return failure
        return key

    def end(self, state: str | Exception, duration_s: float) -> list[EnergyFigure]:
        """Joules over all boards; unavailable where a counter failed or did not move."""
        from zeus.device.exception import ZeusBaseGPUError

        sensor = self._sensor
        if isinstance(state, Exception):
            return [unavailable("gpu", sensor.source, str(state), "counter_lost")]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Zeus warns of zero energy, which is refused below.
                measured = self._monitor.end_window(state, sync_execution=False)
        except ZeusBaseGPUError as error:
            return [unavailable("gpu", sensor.source, str(error), "counter_lost")]
        joules = measured.gpu_energy
        if not joules or min(joules.values()) <= 0:
            reason = f"a counter did not move within {duration_s:.3g} s: {joules}"
            return [unavailable("gpu", sensor.source, reason, "counter_stuck")]
        figure = sensor.figure(float(sum(joules.values())), duration_s)
        return [figure.flagged(*self._boards.flags())]

    def close(self) -> None:
        """Nothing to release: the monitor holds no window between calls."""


class GpuPower:
    """Energy source: the power of some GPUs without counters, sampled and held from sample to sample."""

    def __init__(self, boards: Boards) -> None:
        self._boards = boards
        self._samples: list[Sample] = []
        self._sensor = Sensor(
            component="gpu",
            source=f"NVML power every {PERIOD_S:g} s, {boards.name}",
            covers="GPU boards",
            gain=GAIN,
            method=Method.INTEGRATED_POWER,
            update_period_s=PERIOD_S,
        )

    def describe(self) -> list[SourceInfo]:
        """One line for all boards."""
        return [SourceInfo.of(self._sensor)]

    def sample(self) -> list[Sample]:
        """Power, temperature and clock of each board, kept for the integral."""
        taken = self._boards.sample()
        self._samples.extend(taken)
        return taken

    def begin(self) -> float:
        """When the window began; a sample is taken at its edge."""
        self.sample()
        return time.perf_counter()

    def end(self, state: float, duration_s: float) -> list[EnergyFigure]:
        """Power held from sample to sample; unavailable where a board gave none."""
        joules = 0.0
        for index in self._boards.indices:
            own = [sample for sample in self._samples if sample.component == f"gpu{index}"]
            times = [sample.time_s for sample in own if sample.watts is not None]
            watts = [sample.watts for sample in own if sample.watts is not None]
            energy = hold_energy_j(times, watts, state, state + duration_s)
            if energy is None or len(watts) < len(own):
                reason = f"GPU {index} gave no power inside the window"
                return [unavailable("gpu", self._sensor.source, reason, "counter_lost")]
            joules += energy
        return [self._sensor.figure(joules, duration_s).flagged(*self._boards.flags())]

    def close(self) -> None:
        """Nothing to release."""
