"""CPU packages and DRAM through RAPL: zones found by Zeus, counters unwrapped here.

Zeus globs every RAPL zone, so `psys`, which contains the packages, would be counted beside them: only packages are
taken. It also corrects wraps through a helper process that may notice them after the window has ended; here each
reading adds the difference to the previous one modulo the counter's range, which recovers a single wrap exactly, and a
difference that no package could have drawn is refused. The sampler reads ten times a second, so that two wraps never
fall between two readings.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.energy.figure import EnergyFigure, Sensor, unavailable
from harness.energy.period import update_period_s
from harness.energy.source import SourceInfo
from harness.energy.trace import Sample

# No package (Zeus assumes the same bound), and no memory of one, draws more.
MAX_POWER_W = {"cpu": 1000.0, "dram": 400.0}
# A reading may hold what the counter had not yet shown at the reading before: at most this many seconds.
SLACK_S = 0.1

# Scale of RAPL against a power analyser: packages within 5 % (Hackenberg et al., "An Energy Efficiency Feature Survey
# of the Intel Haswell Processor", 2015), DRAM within 20 % (Desrochers, Paradis and Weaver, "A Validation of DRAM RAPL
# Power Measurements", MEMSYS 2016).
GAIN = {"cpu": 0.05, "dram": 0.20}
COVERS = {"cpu": "CPU packages", "dram": "memory"}


class CounterError(Exception):
    """A counter gave a reading that cannot be true, or no reading."""

    def __init__(self, message: str, flag: str = "counter_lost") -> None:
        self.flag = flag
        super().__init__(message)


@dataclass
class Zone:
    """One RAPL counter, turned into a total that only grows.

    Attributes:
        name: For messages.
        read_uj: Reads the counter in microjoules.
        range_uj: Where the counter wraps to 0; None where whoever reads it has unwrapped it.
        max_w: More than this it cannot draw.
    """

    name: str
    read_uj: Callable[[], float]
    range_uj: float | None
    max_w: float
    _total_uj: float = 0.0
    _last_uj: float = field(init=False)
    _last_s: float = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._last_uj, self._last_s = self._raw(), time.perf_counter()

    def _raw(self) -> float:
        from zeus.exception import ZeusBaseError

        try:
            return self.read_uj()
        except (OSError, ValueError, ZeusBaseError) as error:
            raise CounterError(f"{self.name} cannot be read: {error}") from error

    def read_j(self) -> float:
        """Joules since this object was made.

        Raises:
            CounterError: If the counter cannot be read, or moved by more than the hardware could draw, or backwards.
        """
        with self._lock:
            now_uj, now_s = self._raw(), time.perf_counter()
            delta = now_uj - self._last_uj
            if delta < 0 and self.range_uj is not None:
                delta %= self.range_uj
            limit = self.max_w * 1e6 * (now_s - self._last_s + SLACK_S)
            self._last_uj, self._last_s = now_uj, now_s
            if not 0 <= delta <= limit:
                raise CounterError(f"{self.name} moved by {delta / 1e6:.0f} J, which it cannot draw", "counter_jump")
            self._total_uj += delta
            return self._total_uj / 1e6


Readings = list[float] | CounterError
"""Joules of each zone of a component, or why they could not be read."""


class RaplSource:
    """Energy source: the sum over CPU packages, and the sum over their DRAM zones where they have one."""

    def __init__(self, zones: dict[str, list[Zone]]) -> None:
        self._zones = zones
        self._jumps: dict[str, list[CounterError]] = {name: [] for name in zones}
        self._last: dict[str, tuple[float, float]] = {}
        self._watts: dict[str, float] = {}
        self._sensors = {name: self._sensor(name) for name in zones}

    @classmethod
    def open(cls) -> RaplSource:
        """Find the zones through Zeus: in /sys, in a container's mount of it, or through its daemon.

        Raises:
            CounterError: If there is no RAPL here, or no permission to read it; the message says which.
        """
        from zeus.device.cpu import get_cpus
        from zeus.device.exception import ZeusBaseCPUError
        from zeus.exception import ZeusBaseError

        try:
            cpus = get_cpus()
            packages = [cpu for cpu in cpus.cpus if _zone_name(cpus, cpu.cpu_index).startswith("package")]
        except (ZeusBaseCPUError, ZeusBaseError, OSError) as error:
            raise CounterError(str(error)) from error
        if not packages:
            raise CounterError("RAPL lists no CPU package")
        zones = {"cpu": [_package_zone(cpu) for cpu in packages]}
        memories = [_memory_zone(cpu) for cpu in packages if cpu.supports_get_dram_energy_consumption()]
        return cls({**zones, "dram": memories} if memories else zones)

    def _sensor(self, name: str) -> Sensor:
        period = update_period_s(self._zones[name][0].read_uj, patience_s=0.2)
        source = f"RAPL, {len(self._zones[name])} zone(s)"
        return Sensor(name, source, COVERS[name], GAIN[name], update_period_s=period)

    def describe(self) -> list[SourceInfo]:
        """One line a component."""
        return [SourceInfo.of(sensor) for sensor in self._sensors.values()]

    def sample(self) -> list[Sample]:
        """Mean power of each component since the previous sample."""
        samples = []
        for name in self._zones:
            readings, now = self._read(name), time.perf_counter()
            watts = None
            if not isinstance(readings, CounterError):
                reading = sum(readings)
                if name in self._last and now > self._last[name][0]:
                    before_s, before_j = self._last[name]
                    watts = (reading - before_j) / (now - before_s)
                    self._watts[name] = watts or self._watts.get(name, 0.0)  # 0: no update since the sample before
                self._last[name] = (now, reading)
            samples.append(Sample(now, name, watts))
        return samples

    def begin(self) -> dict[str, tuple[int, Readings]]:
        """How many jumps there were before, and joules so far of each zone, by component."""
        return {name: (len(self._jumps[name]), self._read(name)) for name in self._zones}

    def end(self, state: dict[str, tuple[int, Readings]], duration_s: float) -> list[EnergyFigure]:
        """Joules between the two readings by component; unavailable, with the reason, if any reading failed."""
        return [self._figure(name, *state[name], self._read(name), duration_s) for name in self._zones]

    def _figure(self, name: str, jumps: int, start: Readings, end: Readings, duration_s: float) -> EnergyFigure:
        sensor = self._sensors[name]
        failures = [reading for reading in (start, end) if isinstance(reading, CounterError)]
        for error in [*failures, *self._jumps[name][jumps:]]:
            return unavailable(name, sensor.source, str(error), error.flag)
        assert not isinstance(start, CounterError), "failed readings were answered before"
        assert not isinstance(end, CounterError), "failed readings were answered before"
        joules = [after - before for before, after in zip(start, end, strict=True)]
        return sensor.figure(joules, duration_s, power_w=self._watts.get(name))

    def _read(self, name: str) -> Readings:
        """Joules of each of the component's zones; a jump is remembered for the windows that it falls into."""
        try:
            return [zone.read_j() for zone in self._zones[name]]
        except CounterError as error:
            self._jumps[name].append(error)
            return error

    def close(self) -> None:
        """Nothing to release."""


def _zone_name(cpus: Any, index: int) -> str:
    """Name of a zone; readable by everyone, also where the counter is not."""
    return Path(cpus.rapl_dir, f"intel-rapl:{index}", "name").read_text().strip()


def _package_zone(cpu: Any) -> Zone:
    if hasattr(cpu, "rapl_file"):
        return _file_zone(cpu.rapl_file, MAX_POWER_W["cpu"])
    return Zone(
        f"package {cpu.cpu_index}", lambda: cpu.get_total_energy_consumption().cpu_mj * 1e3, None, MAX_POWER_W["cpu"]
    )


def _memory_zone(cpu: Any) -> Zone:
    if hasattr(cpu, "rapl_file"):
        return _file_zone(cpu.dram, MAX_POWER_W["dram"])
    return Zone(
        f"dram {cpu.cpu_index}", lambda: cpu.get_total_energy_consumption().dram_mj * 1e3, None, MAX_POWER_W["dram"]
    )


def _file_zone(file: Any, max_w: float) -> Zone:
    path = Path(file.energy_uj_path)
    return Zone(path.parent.name, lambda: float(path.read_text()), file.max_energy_range_uj, max_w)
