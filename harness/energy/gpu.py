"""GPUs through Zeus: energy counters where the boards have them, integrated power where they have not.

The monitor is opened for GPUs alone, because its `total_energy` sums GPUs only and its CPU zones double-count (see
`rapl.py`). It does not synchronise: the meter does that itself, since Zeus's own call raises beside a CPU-only torch.
"""

from __future__ import annotations

import itertools
import os
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.energy.figure import ASSUMED_PERIOD_S, EnergyFigure, Method, Sensor, unavailable
from harness.energy.period import update_period_s
from harness.energy.source import SourceInfo
from harness.energy.trace import PERIOD_S, Sample, hold_energy_j
from harness.metrics.efficiency import complete_sum

if TYPE_CHECKING:
    from zeus.monitor import ZeusMonitor

# Power sensors of NVIDIA boards are off by up to 5 %, in proportion: Yang, Adamek, Armour, "Accurate and Convenient
# Energy Measurements for GPUs", SC'24.
GAIN = 0.05

# NVML's reasons for lower clocks that mean a limit was met: software power cap, hardware slowdown, software and
# hardware thermal slowdown, hardware power brake.
THROTTLE_REASONS = 0x4 | 0x8 | 0x20 | 0x40 | 0x80

# What the counter of a Grace Hopper module holds, in Zeus's words "the entire superchip".
SUPERCHIP = "superchip modules, their CPUs and memory included"

# No board draws more.
MAX_BOARD_POWER_W = 3000.0
# A stretch of this many periods without a sample is no reading of power.
MAX_GAP_PERIODS = 5


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
        superchip = getattr(gpus.gpus[self.indices[0]], "_is_grace_hopper", False)
        self.covers = SUPERCHIP if superchip else "GPU boards"

    def sample(self) -> list[Sample]:
        """Power, temperature and clock of each board now, and whether it throttles; what it does not tell is None."""
        return [self._sample(index) for index in self.indices]

    def _sample(self, index: int) -> Sample:
        milliwatts = _ask(self.gpus.get_instant_power_usage, index)
        reasons = self._nvml(index, "nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # the name before driver 535
            reasons = self._nvml(index, "nvmlDeviceGetCurrentClocksThrottleReasons")
        temperature = _ask(self.gpus.get_gpu_temperature, index)
        if temperature is None:  # Zeus asks by a call that drivers before 565 lack
            temperature = self._nvml(index, "nvmlDeviceGetTemperature", 0)
        return Sample(
            time_s=time.perf_counter(),
            component=f"gpu{index}",
            watts=None if milliwatts is None else milliwatts / 1000,
            temperature_c=temperature,
            clock_mhz=self._nvml(index, "nvmlDeviceGetClockInfo", 1),  # 1: the streaming multiprocessors' clock
            flags=("throttled",) if reasons is not None and int(reasons) & THROTTLE_REASONS else (),
        )

    def flags(self) -> tuple[str, ...]:
        """Reason codes of what disturbs these boards now: processes of others."""
        for index in self.indices:
            processes = self._nvml(index, "nvmlDeviceGetComputeRunningProcesses") or []
            if len([process for process in processes if process.pid != os.getpid()]) > _own_alias(processes):
                return ("foreign_gpu_process",)
        return ()

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


def _ask(read: Callable[[int], float], index: int) -> float | None:
    """A reading of Zeus's, or None where the board or the vendor has none."""
    from zeus.device.exception import ZeusBaseGPUError

    try:
        return float(read(index))
    except (ZeusBaseGPUError, AttributeError):
        return None


def _own_alias(processes: Sequence[Any]) -> int:
    """1 if this process may be listed under another number, as in a container; 0 if it is listed under its own."""
    return 0 if any(process.pid == os.getpid() for process in processes) else 1


class GpuCounters:
    """Energy source: the total-energy counters of some GPUs, summed, through Zeus's monitor."""

    def __init__(self, monitor: ZeusMonitor, boards: Boards) -> None:
        self._monitor = monitor
        self._boards = boards
        self._keys = map("gpu-{}".format, itertools.count())
        period = update_period_s(lambda: float(boards.gpus.get_total_energy_consumption(boards.indices[0])))
        source = f"NVML total energy through Zeus, {boards.name}"
        self._sensor = Sensor("gpu", source, boards.covers, GAIN, update_period_s=period)

    def describe(self) -> list[SourceInfo]:
        """One line for all boards."""
        return [SourceInfo.of(self._sensor)]

    def sample(self) -> list[Sample]:
        """Power, temperature and clock of each board."""
        return self._boards.sample()

    def begin(self) -> str:
        """Open a window of the monitor; the state is its key."""
        key = next(self._keys)
        self._monitor.begin_window(key, sync_execution=False)
        return key

    def end(self, state: str, duration_s: float) -> list[EnergyFigure]:
        """Joules over all boards; unavailable where a counter did not move, or moved impossibly."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Zeus warns of zero energy, which is refused below.
            joules = list((self._monitor.end_window(state, sync_execution=False).gpu_energy or {}).values())
        sensor = self._sensor
        limit_j = MAX_BOARD_POWER_W * (duration_s + (sensor.update_period_s or ASSUMED_PERIOD_S))
        if not joules or 0 in joules:
            reason = f"a counter did not move within {duration_s:.3g} s"
            return [unavailable("gpu", sensor.source, reason, "counter_stuck")]
        if min(joules) < 0 or max(joules) > limit_j:
            reason = (
                f"a counter moved by {min(joules):.6g} to {max(joules):.6g} J in {duration_s:.3g} s, which cannot be"
            )
            return [unavailable("gpu", sensor.source, reason, "counter_jump")]
        return [sensor.figure(float(sum(joules)), duration_s).flagged(*self._boards.flags())]

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
            covers=boards.covers,
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
        """Power held from sample to sample; unavailable where a board gave none for a while."""
        self.sample()
        energies = [self._energy_j(f"gpu{index}", state, state + duration_s) for index in self._boards.indices]
        joules = complete_sum(energies)
        if joules is None or 0 in energies:
            reason = f"a board gave no power for more than {MAX_GAP_PERIODS * PERIOD_S:g} s, or gave 0 W throughout"
            return [unavailable("gpu", self._sensor.source, reason, "counter_lost")]
        return [self._sensor.figure(joules, duration_s).flagged(*self._boards.flags())]

    def _energy_j(self, component: str, start_s: float, end_s: float) -> float | None:
        own = [sample for sample in self._samples if sample.component == component and sample.time_s >= start_s - 1]
        known = [(sample.time_s, sample.watts) for sample in own if sample.watts is not None]
        gaps = [after - before for (before, _), (after, _) in pairwise(known) if after > start_s and before < end_s]
        if not gaps or max(gaps) > MAX_GAP_PERIODS * PERIOD_S:
            return None
        return hold_energy_j([moment for moment, _ in known], [watts for _, watts in known], start_s, end_s)

    def close(self) -> None:
        """Nothing to release."""
