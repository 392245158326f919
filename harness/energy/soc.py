"""Systems on a chip through Zeus: Apple silicon and NVIDIA Jetson. Zeus gives them in millijoules."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from harness.energy.figure import EnergyFigure, Sensor, unavailable
from harness.energy.source import SourceInfo

# Parts of a chip that do not contain one another: Apple's, and those of a Jetson board without a rail for the total.
_PARTS = ("cpu_total_mj", "gpu_mj", "gpu_sram_mj", "dram_mj", "ane_mj", "cpu_energy_mj", "gpu_energy_mj")

# No published validation of these sensors is known to us: 10 % is assumed.
GAIN = 0.10


class SocSource:
    """Energy source: the whole chip."""

    def __init__(self, soc: Any) -> None:
        self._soc = soc
        self._keys = map("soc-{}".format, itertools.count())
        self._sensor = Sensor("soc", f"{type(soc).__name__} through Zeus", "system on a chip", GAIN)

    @classmethod
    def open(cls) -> SocSource:
        """Find the chip.

        Raises:
            LookupError: If this machine is none that Zeus knows.
        """
        from zeus.device.soc import get_soc
        from zeus.device.soc.common import ZeusSoCInitError

        try:
            return cls(get_soc())
        except ZeusSoCInitError as error:
            raise LookupError(str(error)) from error

    def describe(self) -> list[SourceInfo]:
        """One line for the chip."""
        return [SourceInfo.of(self._sensor)]

    def begin(self) -> str:
        """Open a window of Zeus's."""
        key = next(self._keys)
        self._soc.begin_window(key, restart=False)
        return key

    def end(self, state: str, duration_s: float) -> list[EnergyFigure]:
        """Joules of the chip: its own total, or the sum of its parts."""
        measured = self._soc.end_window(state)
        total_mj = getattr(measured, "total_energy_mj", None)
        parts = {name.removesuffix("_mj"): getattr(measured, name, None) for name in _PARTS}
        known = {name: part for name, part in parts.items() if part is not None}
        joules = (sum(known.values()) if total_mj is None else total_mj) / 1000
        if joules <= 0:
            reason = "the chip gave no energy for the window"
            return [unavailable("soc", self._sensor.source, reason, "counter_stuck")]
        if total_mj is not None:
            return [self._sensor.figure([joules], duration_s)]
        # A part that this chip does not tell is not in the sum, and is not called so.
        parts_read = f"the chip's {', '.join(known)}"
        return [replace(self._sensor.figure([joules], duration_s, f"the sum of {parts_read}"), covers=parts_read)]

    def close(self) -> None:
        """Nothing to release."""
