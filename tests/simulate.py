"""Counters with a known truth, where Zeus looks for real ones."""

from __future__ import annotations

import time
import types
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest


@dataclass
class SimulatedRapl:
    """A powercap tree: `package-0` with DRAM, `package-1` without, and `psys`, which contains both."""

    root: Path
    range_uj: int = 1_000_000_000

    @classmethod
    def install(cls, root: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedRapl:
        from zeus.device import cpu
        from zeus.device.cpu import rapl

        simulated = cls(root)
        for number, name in enumerate(("package-0", "package-1", "psys")):
            simulated._zone(root / f"intel-rapl:{number}", name)
        simulated._zone(root / "intel-rapl:0" / "intel-rapl:0:0", "dram")
        monkeypatch.setattr(rapl, "RAPL_DIR", str(root))
        monkeypatch.setattr(cpu, "_cpus", None)
        monkeypatch.setattr(rapl, "rapl_is_available", lambda: True)
        monkeypatch.setattr(cpu, "rapl_is_available", lambda: True)
        return simulated

    def _zone(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True)
        (folder / "name").write_text(name)
        (folder / "max_energy_range_uj").write_text(str(self.range_uj))
        (folder / "energy_uj").write_text("0" * 15)

    def counter(self, zone: str) -> Path:
        paths = {"package-0": "intel-rapl:0", "package-1": "intel-rapl:1", "psys": "intel-rapl:2",
                 "dram": "intel-rapl:0/intel-rapl:0:0"}  # fmt: skip
        return self.root / paths[zone] / "energy_uj"

    def add_cpu_j(self, joules: float) -> None:
        """Let both packages draw half of some energy each."""
        for zone in ("package-0", "package-1"):
            self.add_j(zone, joules / 2)

    def add_j(self, zone: str, joules: float) -> None:
        """Let a zone draw some energy; its counter wraps as the real one does."""
        path = self.counter(zone)
        raised = int((int(path.read_text()) + joules * 1e6) % self.range_uj)
        with path.open("r+b", buffering=0) as file:  # In place and in one piece: the sampler may read meanwhile.
            file.write(b"%015d" % raised)


@dataclass
class SimulatedNvml:
    """The part of pynvml that Zeus uses, over counters that a test moves."""

    energy_mj: list[float] = field(default_factory=list)
    power_mw: list[float] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    temperature_c: float = 50.0
    clock_mhz: float = 1500.0
    clock_reasons: int = 0
    processes: list[Any] = field(default_factory=list)
    architecture: int = 9

    @classmethod
    def install(cls, monkeypatch: pytest.MonkeyPatch, gpus: int) -> SimulatedNvml:
        import pynvml
        from zeus.device import gpu
        from zeus.device.gpu import nvidia

        simulated = cls([0.0] * gpus, [100_000.0] * gpus)
        fake: Any = types.SimpleNamespace(
            **{name: getattr(pynvml, name) for name in dir(pynvml) if name.startswith(("NVML", "_nvml"))},
            nvmlInit=lambda: None,
            nvmlShutdown=lambda: None,
            nvmlDeviceGetCount=lambda: gpus,
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetName=lambda handle: "Simulated GPU",
            nvmlDeviceGetC2cModeInfoV=lambda handle: types.SimpleNamespace(isC2cEnabled=False),
            nvmlDeviceGetArchitecture=lambda handle: simulated.architecture,
            nvmlDeviceGetTotalEnergyConsumption=simulated._energy,
            nvmlDeviceGetFieldValues=simulated._power,
            nvmlDeviceGetTemperatureV=lambda handle, sensor: simulated.temperature_c,
            nvmlDeviceGetClockInfo=lambda handle, kind: simulated.clock_mhz,
            nvmlDeviceGetCurrentClocksEventReasons=lambda handle: simulated.clock_reasons,
            nvmlDeviceGetComputeRunningProcesses=lambda handle: simulated.processes,
        )
        monkeypatch.setattr(nvidia, "pynvml", fake)
        monkeypatch.setattr(gpu, "_gpus", None)
        monkeypatch.setattr(gpu, "nvml_is_available", lambda: True)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return simulated

    def _power(self, handle: int, fields: Any) -> list[Any]:
        value = types.SimpleNamespace(uiVal=int(self.power_mw[handle]))
        return [types.SimpleNamespace(nvmlReturn=0, value=value)]

    def _energy(self, handle: int) -> int:
        import pynvml

        if handle in self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return int(self.energy_mj[handle])


@dataclass
class VirtualClock:
    """A monotonic clock that moves only when told to; installed, `time.perf_counter` is it and `time.sleep` moves it."""

    now: float = 1000.0

    @classmethod
    def install(cls, monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
        clock = cls()
        monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
        monkeypatch.setattr(time, "sleep", clock.advance)
        return clock

    def advance(self, seconds: float) -> None:
        self.now += seconds


class RealClock:
    """The machine's own clock, for runs that take real time."""

    @property
    def now(self) -> float:
        return time.perf_counter()


@dataclass
class Load:
    """Power that steps from value to value; constant if there is one.

    Attributes:
        steps: (from this moment on, watts), the first before everything.
        gain: What the sensor makes of one joule.
        period_s: Seconds between two updates of the counter.
        phase_s: When its updates fall.
    """

    steps: list[tuple[float, float]]
    gain: float = 1.0
    period_s: float = 0.02
    phase_s: float = 0.0

    def watts(self, moment: float) -> float:
        return [watts for start, watts in self.steps if start <= moment][-1]

    def joules(self, start: float, end: float) -> float:
        """The truth."""
        edges = [start, *[moment for moment, _ in self.steps if start < moment < end], end]
        return sum(self.watts(a) * (b - a) for a, b in pairwise(edges))

    def counter_j(self, moment: float) -> float:
        """What the counter shows: the energy up to its last update, through its gain."""
        origin = self.steps[0][0]
        update = ((moment - self.phase_s) // self.period_s) * self.period_s + self.phase_s
        return self.gain * self.joules(origin, max(origin, update))


def drive_nvml(nvml: SimulatedNvml, clock: VirtualClock | RealClock, loads: list[Load]) -> None:
    """Let each GPU's counter and power follow a load."""

    class Energies:
        def __getitem__(self, index: int) -> float:
            return loads[index].counter_j(clock.now) * 1000

    nvml.energy_mj = Energies()  # type: ignore[assignment]


def drive_rapl(
    rapl: SimulatedRapl, clock: VirtualClock | RealClock, loads: dict[str, Load], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let each zone's counter follow a load when it is read, and wrap at its range."""
    read = Path.read_text
    paths = {rapl.counter(zone): load for zone, load in loads.items()}

    def read_text(self: Path, *arguments: Any, **options: Any) -> str:
        if self in paths:
            return str(int(paths[self].counter_j(clock.now) * 1e6) % rapl.range_uj)
        return read(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
