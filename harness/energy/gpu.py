"""GPUs through Zeus's monitor: one counter a device, summed over the devices that the run uses.

The monitor is opened for GPUs alone, because its `total_energy` sums GPUs only and its CPU zones double-count (see
`rapl.py`). It does not synchronise: the meter does that itself, since Zeus's own call raises beside a CPU-only torch.
"""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING

from harness.energy.figure import EnergyFigure, Method, unavailable
from harness.energy.source import SourceInfo

if TYPE_CHECKING:
    from zeus.monitor import ZeusMonitor


class GpuSource:
    """Energy source: the total-energy counters of some GPUs.

    Args:
        monitor: A Zeus monitor of those GPUs and nothing else.
        name: The boards' name, for the source line.
    """

    def __init__(self, monitor: ZeusMonitor, name: str) -> None:
        self._monitor = monitor
        self._name = name
        self._keys = map("window-{}".format, itertools.count())

    @classmethod
    def open(cls, devices: int) -> GpuSource:
        """Open the counters of the first `devices` visible GPUs.

        Raises:
            LookupError: If there are fewer GPUs than asked for, or one has no total-energy counter; it says which.
        """
        from zeus.device import get_gpus
        from zeus.device.exception import ZeusBaseGPUError
        from zeus.monitor import ZeusMonitor

        try:
            gpus = get_gpus()
        except (ZeusBaseGPUError, ValueError) as error:  # ValueError: CUDA_VISIBLE_DEVICES with UUIDs, in Zeus 0.16
            raise LookupError(f"no GPU counter: {error}") from error
        if len(gpus) < devices:
            raise LookupError(f"Zeus sees {len(gpus)} GPU(s), and the run uses {devices}")
        chosen = list(range(devices))
        for index in chosen:
            if not gpus.supports_get_total_energy_consumption(index):
                raise LookupError(f"GPU {index} ({gpus.get_name(index)}) has no total-energy counter")
        monitor = ZeusMonitor(gpu_indices=chosen, cpu_indices=[])
        return cls(monitor, f"{devices} x {gpus.get_name(0)}")

    def describe(self) -> list[SourceInfo]:
        """One line for all boards."""
        return [SourceInfo("gpu", self._source, Method.MEASURED_COUNTER, "GPU boards")]

    @property
    def _source(self) -> str:
        return f"NVML total energy through Zeus, {self._name}"

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

        if isinstance(state, Exception):
            return [unavailable("gpu", self._source, str(state))]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Zeus warns of zero energy, which is refused below.
                measured = self._monitor.end_window(state, sync_execution=False)
        except ZeusBaseGPUError as error:
            return [unavailable("gpu", self._source, str(error))]
        joules = measured.gpu_energy
        if not joules or min(joules.values()) <= 0:
            reason = f"a counter did not move within {duration_s:.3g} s: {joules}"
            return [unavailable("gpu", self._source, reason)]
        value = float(sum(joules.values()))
        return [EnergyFigure("gpu", value, value, value, Method.MEASURED_COUNTER, self._source, "GPU boards")]

    def close(self) -> None:
        """Nothing to release: the monitor holds no window between calls."""
