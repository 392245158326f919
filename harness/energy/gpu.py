"""GPUs through Zeus: energy counters where the boards have them, integrated power where they have not.

Zeus's device layer finds and reads the boards. Its `ZeusMonitor` is not opened: whatever it is asked for, it opens CPUs
and chips as well, so that a fault of RAPL would take the GPUs away; and it does not tell a counter at rest from 0 J.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.energy.boards import Boards, is_nvidia, nvml
from harness.energy.figure import EnergyFigure, Method, Sensor, unavailable
from harness.energy.period import update_period_s
from harness.energy.source import SourceInfo
from harness.energy.trace import MAX_GAP_PERIODS, PERIOD_S, Sample, held_energy_j

# Power sensors of NVIDIA boards are off by up to 5 %, in proportion: Yang, Adamek, Armour, "Accurate and Convenient
# Energy Measurements for GPUs", SC'24.
GAIN = 0.05

# No board draws more.
MAX_BOARD_POWER_W = 3000.0


def open_gpus(indices: Sequence[int], uuids: Sequence[str] = ()) -> GpuCounters | GpuPower:
    """Some of the visible GPUs: by their counters, or by their power if one lacks a counter.

    Args:
        indices: Numbers of the GPUs among those that CUDA_VISIBLE_DEVICES leaves.
        uuids: What CUDA calls these boards, where that is known. It numbers the fastest first unless it is told
            otherwise, NVML by PCI bus: the boards are then found by these names.

    Raises:
        LookupError: If there are fewer GPUs than asked for, or none that can be read on its own; it says why.
    """
    from zeus.device import get_gpus
    from zeus.device.exception import ZeusBaseGPUError

    try:
        gpus = get_gpus()
    except (ZeusBaseGPUError, ValueError) as error:  # ValueError: CUDA_VISIBLE_DEVICES with UUIDs, in Zeus 0.16
        raise LookupError(f"no GPU counter: {error}") from error
    if len(gpus) <= max(indices):
        raise LookupError(f"Zeus sees {len(gpus)} GPU(s), and the run uses number {max(indices)}")
    named = uuids and is_nvidia(gpus)  # AMD's boards have one numbering, HIP's, and no such names through Zeus.
    boards = Boards(gpus, _by_uuid(gpus, uuids) if named else indices)
    if shared := [index for index in boards.indices if boards.is_partitioned(index)]:
        raise LookupError(f"GPU {shared[0]} is in MIG mode: its counter holds every instance on the board")
    return GpuCounters(boards) if boards.have_counters() else GpuPower(boards)


def _by_uuid(gpus: Any, uuids: Sequence[str]) -> list[int]:
    """Numbers of Zeus's boards with these UUIDs."""
    told = {index: nvml(gpus, index, "nvmlDeviceGetUUID") for index in range(len(gpus))}
    known = {_plain(uuid): index for index, uuid in told.items() if uuid is not None}
    if missing := [uuid for uuid in uuids if _plain(uuid) not in known]:
        raise LookupError(f"no board that Zeus sees is the GPU {missing[0]} that CUDA uses")
    return [known[_plain(uuid)] for uuid in uuids]


def _plain(uuid: str | bytes) -> str:
    text = uuid.decode() if isinstance(uuid, bytes) else uuid
    return text.removeprefix("GPU-").lower()


class _Devices:
    """What the two ways of reading boards share: samples, and the boards that count."""

    def __init__(self, boards: Boards) -> None:
        self._boards = boards

    def sample(self) -> list[Sample]:
        """Power, temperature and clock of each board."""
        return self._boards.sample()

    @contextmanager
    def first_device(self) -> Iterator[None]:
        """Count the first board alone in the windows that begin inside; all are sampled."""
        self._boards.counted = self._boards.indices[:1]
        try:
            yield
        finally:
            self._boards.counted = self._boards.indices

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True)
class Edge:
    """The start of a window: which boards count, their counters, when it was, and what disturbed them then."""

    counted: list[int]
    millijoules: list[float]
    time_s: float
    flags: tuple[str, ...]


class GpuCounters(_Devices):
    """Energy source: the total-energy counters of some GPUs, summed."""

    def __init__(self, boards: Boards) -> None:
        super().__init__(boards)
        period = update_period_s(lambda: boards.millijoules(boards.indices[:1])[0])
        source = f"{boards.interface} total energy through Zeus, {boards.name}"
        self._sensor = Sensor("gpu", source, boards.covers, GAIN, update_period_s=period)

    def describe(self) -> list[SourceInfo]:
        """One line for all boards."""
        return [SourceInfo.of(self._sensor)]

    def begin(self) -> Edge:
        """The counters now."""
        counted = self._boards.counted
        return Edge(counted, self._boards.millijoules(counted), time.perf_counter(), self._boards.flags())

    def end(self, state: Edge, duration_s: float) -> list[EnergyFigure]:
        """Joules over all boards; unavailable where a counter did not move when it should have, or impossibly."""
        counters = self._boards.millijoules(state.counted)
        joules = [(after - before) / 1000 for before, after in zip(state.millijoules, counters, strict=True)]
        sensor = self._sensor
        limit_j = MAX_BOARD_POWER_W * (duration_s + sensor.period_s)
        if min(joules) < 0 or max(joules) > limit_j:
            reason = (
                f"a counter moved by {min(joules):.6g} to {max(joules):.6g} J in {duration_s:.3g} s, which cannot be"
            )
            return [unavailable("gpu", sensor.source, reason, "counter_jump")]
        power_w = self._boards.largest_watts(state.counted, state.time_s)
        figure = sensor.figure(joules, duration_s, *self._boards.notes(), power_w=power_w)
        return [figure.flagged(*dict.fromkeys((*state.flags, *self._boards.flags())))]


class GpuPower(_Devices):
    """Energy source: the power of some GPUs without counters, sampled and held from sample to sample."""

    def __init__(self, boards: Boards) -> None:
        super().__init__(boards)
        self._samples: list[Sample] = []
        measured = update_period_s(lambda: boards.watts(boards.indices[0]) or 0.0)
        self._sensor = Sensor(
            component="gpu",
            source=f"{boards.interface} power every {PERIOD_S:g} s, {boards.name}",
            covers=boards.covers,
            gain=GAIN,
            method=Method.INTEGRATED_POWER,
            update_period_s=None if measured is None else max(PERIOD_S, measured),
        )

    def describe(self) -> list[SourceInfo]:
        """One line for all boards."""
        return [SourceInfo.of(self._sensor)]

    def sample(self) -> list[Sample]:
        """Power, temperature and clock of each board, kept for the integral."""
        taken = super().sample()
        self._samples.extend(taken)
        return taken

    def begin(self) -> Edge:
        """When the window began, and what disturbed the boards then; a sample is taken at its edge."""
        self.sample()
        return Edge(self._boards.counted, [], time.perf_counter(), self._boards.flags())

    def end(self, state: Edge, duration_s: float) -> list[EnergyFigure]:
        """Power held from sample to sample; unavailable where a board gave none for a while."""
        self.sample()
        end_s = state.time_s + duration_s
        energies = [self._energy_j(f"gpu{index}", state.time_s, end_s) for index in state.counted]
        known = [joules for joules in energies if joules]
        if len(known) < len(energies):
            reason = f"a board gave no power for more than {MAX_GAP_PERIODS * PERIOD_S:g} s, or gave 0 W throughout"
            return [unavailable("gpu", self._sensor.source, reason, "counter_lost")]
        figure = self._sensor.figure(known, duration_s, *self._boards.notes())
        return [figure.flagged(*dict.fromkeys((*state.flags, *self._boards.flags())))]

    def _energy_j(self, component: str, start_s: float, end_s: float) -> float | None:
        own = [sample for sample in self._samples if sample.component == component and sample.time_s >= start_s - 1]
        return held_energy_j(own, start_s, end_s)
