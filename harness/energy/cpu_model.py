"""The modelled CPU: an interval of power from the thermal design power and this process's own load.

It is an estimate for machines without counters, labelled `modelled` wherever it appears. The bounds are two published
load curves, evaluated at the load that this process causes, so that a neighbour's work never enters the figure:

* lower: CodeCarbon 3's `cpu_load` mode, P = TDP * max(0.1, u) (codecarbon/external/hardware.py);
* upper: the Teads curve, P = TDP * (0.12, 0.32, 0.75, 1.02) at loads of 0, 10, 50 and 100 %, linear in between
  (B. Davy, "Estimating AWS EC2 Instances Power Consumption", Teads Engineering, 2021).

u is this process's CPU seconds over the CPU seconds that others left it: a neighbour stretches the window, and what it
uses is taken off the window's length, so that neither its load nor the idling during it is billed here. TDP is scaled
by the hardware threads that this machine sees. A CPU that the table does not know has an interval of TDP as well: the
smallest and largest TDP per hardware thread in the table.
"""

from __future__ import annotations

import bisect
import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from harness.energy.figure import EnergyFigure, Method
from harness.energy.host import foreign_seconds, machine_cpu_seconds, own_cpu_seconds
from harness.energy.source import SourceInfo

RAPL_REMEDY = (
    "make its counters readable (sudo chmod -R a+r /sys/class/powercap/intel-rapl) or run zeusd; in a container, mount "
    "/sys/class/powercap/intel-rapl at /zeus_sys/class/powercap/intel-rapl"
)

TEADS_CURVE = ((0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02))
CODECARBON_FLOOR = 0.1


def lower_curve(load: float) -> float:
    """CodeCarbon's fraction of TDP at a load between 0 and 1."""
    return max(CODECARBON_FLOOR, load)


def upper_curve(load: float) -> float:
    """The Teads fraction of TDP at a load between 0 and 1."""
    index = max(1, bisect.bisect_left(TEADS_CURVE, (load,)))
    (x0, y0), (x1, y1) = TEADS_CURVE[index - 1], TEADS_CURVE[index]
    return y0 + (y1 - y0) * (load - x0) / (x1 - x0)


@dataclass(frozen=True)
class ThermalDesignPower:
    """TDP in watts of the hardware threads that this machine sees, as an interval, and where it came from."""

    low_w: float
    high_w: float
    origin: str


@cache
def _tdp_table() -> list[tuple[str, float, int]]:
    text = files("harness.energy").joinpath("cpu_tdp.csv").read_text()
    return [(row["model"], float(row["tdp_w"]), int(row["threads"])) for row in csv.DictReader(text.splitlines())]


def find_tdp(name: str, threads: int, given_w: float | None = None) -> ThermalDesignPower:
    """TDP of `threads` hardware threads of the CPU called `name`; `given_w` (all of this machine's CPUs) wins."""
    if given_w is not None:
        return ThermalDesignPower(given_w, given_w, f"hardware.cpu_tdp_w={given_w:g} as configured")
    normal = name.replace("(R)", "").replace("(TM)", "")
    known = [row for row in _tdp_table() if f" {row[0]} " in f" {normal} "]
    if known:
        model, tdp_w, model_threads = known[0]
        share_w = tdp_w * threads / model_threads
        return ThermalDesignPower(share_w, share_w, f"{model}: {tdp_w:g} W for {model_threads} threads, {threads} seen")
    per_thread = [tdp_w / model_threads for _, tdp_w, model_threads in _tdp_table()]
    low, high = min(per_thread), max(per_thread)
    origin = f"TDP of '{name}' unknown: {low:.2g} to {high:.2g} W per hardware thread assumed, {threads} seen"
    return ThermalDesignPower(low * threads, high * threads, origin)


class CpuModel:
    """Energy source: the modelled CPU of this machine.

    Args:
        tdp: Thermal design power of what this machine sees.
        threads: Hardware threads that this machine sees.
        reason: Why no counter is used, for the notes of each figure.
    """

    source = "TDP and two published load curves"
    covers = "this process's share of the CPU package"

    def __init__(self, tdp: ThermalDesignPower, threads: int, reason: str) -> None:
        self._tdp = tdp
        self._threads = threads
        self._reason = reason

    def describe(self) -> list[SourceInfo]:
        """The assumptions of the model."""
        detail = f"{self._tdp.origin}; {self._reason}"
        remedy = f"set hardware.cpu_tdp_w; or, where there is RAPL, {RAPL_REMEDY}"
        return [SourceInfo("cpu", self.source, Method.MODELLED, self.covers, detail=detail, remedy=remedy)]

    def begin(self) -> tuple[float, float | None]:
        """CPU seconds used so far, by this process and by everyone."""
        return own_cpu_seconds(), machine_cpu_seconds()

    def end(self, state: tuple[float, float | None], duration_s: float) -> list[EnergyFigure]:
        """Energy in joules between the two curves; the value is the middle of the interval."""
        own = max(0.0, own_cpu_seconds() - state[0])  # A child that has ended takes its seconds along.
        foreign = foreign_seconds(state[1], machine_cpu_seconds(), own)
        available_s = max(duration_s - (foreign or 0.0) / self._threads, own / self._threads)
        load = min(1.0, own / (self._threads * available_s))
        bounds = (lower_curve(load), upper_curve(load))
        low = min(bounds) * self._tdp.low_w * available_s
        high = max(bounds) * self._tdp.high_w * available_s
        alone = ("what others use is not told: taken as nothing",) * (foreign is None)
        notes = (self._tdp.origin, self._reason, *alone)
        return [
            EnergyFigure("cpu", (low + high) / 2, low, high, Method.MODELLED, self.source, self.covers, notes=notes)
        ]

    def close(self) -> None:
        """Nothing to release."""
