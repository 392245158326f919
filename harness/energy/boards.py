"""GPU boards of Zeus's: who they are, what they tell beside energy, and who is on them.

Zeus's device layer finds and reads them. What it does not offer is asked of NVML itself; what a board, a driver or a
vendor does not tell is None.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from harness.energy.host import own_processes
from harness.energy.trace import Sample
from harness.metrics.efficiency import complete_sum

# NVML's reasons for lower clocks that mean a limit was met: software power cap, hardware slowdown, software and
# hardware thermal slowdown, hardware power brake.
THROTTLE_REASONS = 0x4 | 0x8 | 0x20 | 0x40 | 0x80

# What the counter of a Grace Hopper module holds, in Zeus's words "the entire superchip".
SUPERCHIP = "superchip modules, their CPUs and memory included"

# Samples from one look at the processes on the boards to the next.
SAMPLES_PER_LOOK = 10

# Samples of power that are remembered.
RECENT = 600

FOREIGN = "foreign_gpu_process"


def is_nvidia(gpus: Any) -> bool:
    """Whether Zeus reads the boards through NVML."""
    return type(gpus).__name__.startswith("NVIDIA")


class Boards:
    """Some GPUs of Zeus's, and what else they tell than energy.

    Args:
        gpus: Zeus's.
        indices: The boards that the run uses.

    Attributes:
        counted: Those of them that count now.
    """

    def __init__(self, gpus: Any, indices: Sequence[int]) -> None:
        self.gpus = gpus
        self.indices = self.counted = list(indices)
        self.name = f"{len(self.indices)} x {gpus.get_name(self.indices[0])}"
        self.interface = "NVML" if is_nvidia(gpus) else "AMD SMI"
        superchip = getattr(gpus.gpus[self.indices[0]], "_is_grace_hopper", False)
        self.covers = SUPERCHIP if superchip else "GPU boards"
        # Who used the boards before this process did, if it has not begun to.
        self._before = {} if cuda_started() else {index: set(self._processes(index) or ()) for index in self.indices}
        self._samples = 0
        self._recent: deque[tuple[float, dict[int, float | None]]] = deque(maxlen=RECENT)

    def have_counters(self) -> bool:
        """Whether every board has an energy counter, by its architecture and when it is asked."""
        from zeus.device.gpu.common import ZeusGPUNotSupportedError

        try:
            supported = all(map(self.gpus.supports_get_total_energy_consumption, self.indices))
            return supported and bool(self.millijoules(self.indices))
        except ZeusGPUNotSupportedError:
            return False

    def millijoules(self, indices: Sequence[int]) -> list[float]:
        """The counters of some boards."""
        return [float(self.gpus.get_total_energy_consumption(index)) for index in indices]

    def watts(self, index: int) -> float | None:
        """Power of a board now: instant, or else the average that it tells; None where it tells neither."""
        for read in (self.gpus.get_instant_power_usage, self.gpus.get_average_power_usage):
            milliwatts = _ask(read, index)
            if milliwatts is not None:
                return milliwatts / 1000
        milliwatts = nvml(self.gpus, index, "nvmlDeviceGetPowerUsage")  # before the fields that Zeus asks for
        return None if milliwatts is None else milliwatts / 1000

    def largest_watts(self, indices: Sequence[int], since_s: float) -> float | None:
        """The largest power that some boards drew together since a moment, by the samples and now; None if untold."""
        now = {index: self.watts(index) for index in indices}
        recent = list(self._recent)  # At once: the sampler's thread adds to it.
        told = [now, *(by_index for moment, by_index in recent if moment >= since_s)]
        sums = [complete_sum([by_index[index] for index in indices]) for by_index in told]
        return max((watts for watts in sums if watts is not None), default=None)

    def is_partitioned(self, index: int) -> bool:
        """Whether a board is divided into instances (MIG)."""
        mode = nvml(self.gpus, index, "nvmlDeviceGetMigMode")
        return mode is not None and mode[0] == 1  # current, pending

    def sample(self) -> list[Sample]:
        """Power, temperature and clock of each board now, and what disturbs it; what it does not tell is None."""
        disturbed = self.flags() if self._samples % SAMPLES_PER_LOOK == 0 else ()
        self._samples += 1
        taken = [self._sample(index, disturbed) for index in self.indices]
        self._recent.append((taken[0].time_s, {i: s.watts for i, s in zip(self.indices, taken, strict=True)}))
        return taken

    def _sample(self, index: int, disturbed: tuple[str, ...]) -> Sample:
        reasons = nvml(self.gpus, index, "nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # the name before driver 535
            reasons = nvml(self.gpus, index, "nvmlDeviceGetCurrentClocksThrottleReasons")
        temperature = _ask(self.gpus.get_gpu_temperature, index)
        if temperature is None:  # Zeus asks by a call that drivers before 565 lack
            temperature = nvml(self.gpus, index, "nvmlDeviceGetTemperature", 0)
        throttled = ("throttled",) if reasons is not None and int(reasons) & THROTTLE_REASONS else ()
        return Sample(
            time_s=time.perf_counter(),
            component=f"gpu{index}",
            watts=self.watts(index),
            temperature_c=temperature,
            clock_mhz=nvml(self.gpus, index, "nvmlDeviceGetClockInfo", 1),  # 1: the multiprocessors' clock
            flags=(*throttled, *disturbed),
        )

    def flags(self) -> tuple[str, ...]:
        """Reason codes of what disturbs these boards now: processes of others."""
        listed = {index: set(self._processes(index) or ()) for index in self.indices}
        if not any(listed.values()):
            return ()
        own = own_processes()
        return (FOREIGN,) if any(self._is_shared(index, listed[index], own) for index in self.indices) else ()

    def notes(self) -> tuple[str, ...]:
        """What is not known of these boards: who is on them, where nobody is listed although this process is."""
        listed = [self._processes(index) for index in self.indices]
        untold = None in listed or (cuda_started() and not all(listed))
        return ("who else uses the boards is not told",) if untold else ()

    def _is_shared(self, index: int, listed: set[int], own: set[int]) -> bool:
        """Whether a board runs a process of others.

        In a container, NVML may list processes by numbers that are not ours. One of them may then be this process; not
        one that was there before the boards were opened, unless this process already used them.
        """
        if not listed - own:
            return False
        return bool(listed & own) or bool(listed & self._before.get(index, set())) or len(listed) > 1

    def _processes(self, index: int) -> list[int] | None:
        found = nvml(self.gpus, index, "nvmlDeviceGetComputeRunningProcesses")
        return None if found is None else [process.pid for process in found]


def cuda_started() -> bool:
    """Whether this process has begun to use the boards."""
    if "torch" not in sys.modules:  # It takes seconds to import, and nobody has.
        return False
    from harness.energy.cuda import cuda_in_use

    return cuda_in_use()


def nvml(gpus: Any, index: int, function: str, *arguments: Any) -> Any:
    """A reading that Zeus does not offer, or None where the board or the vendor has none."""
    from zeus.device.gpu import nvidia

    handle = getattr(gpus.gpus[index], "handle", None)
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
