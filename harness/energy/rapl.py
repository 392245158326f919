"""CPU packages and DRAM through RAPL: zones found by Zeus, counters unwrapped here.

Zeus globs every RAPL zone, so `psys`, which contains the packages, would be counted beside them: only packages are
taken. It also corrects wraps through a helper process that may notice them after the window has ended; here each
reading adds the difference to the previous one modulo the counter's range, which recovers a single wrap exactly, and a
difference that no package could have drawn is refused.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.energy.figure import EnergyFigure, Method, unavailable
from harness.energy.source import SourceInfo

# No CPU package draws more; Zeus assumes the same bound.
MAX_PACKAGE_POWER_W = 1000.0


class CounterError(Exception):
    """A counter gave a reading that cannot be true, or no reading."""


class _RaplFile(Protocol):
    name: str
    energy_uj_path: str
    max_energy_range_uj: float


@dataclass
class Zone:
    """One wrapping RAPL counter, turned into a total that only grows.

    Raises (from `read_j`):
        CounterError: If the file cannot be read, or if it moved by more than the hardware could draw.
    """

    path: Path
    range_uj: float
    _total_uj: float = 0.0
    _last_uj: float = field(init=False)
    _last_s: float = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._last_uj, self._last_s = self._raw(), time.monotonic()

    def _raw(self) -> float:
        try:
            return float(self.path.read_text())
        except (OSError, ValueError) as error:
            raise CounterError(f"{self.path.parent.name} cannot be read: {error}") from error

    def read_j(self) -> float:
        """Joules since this object was made."""
        with self._lock:
            now_uj, now_s = self._raw(), time.monotonic()
            delta = (now_uj - self._last_uj) % self.range_uj
            limit = MAX_PACKAGE_POWER_W * 1e6 * (now_s - self._last_s + 1.0)
            self._last_uj, self._last_s = now_uj, now_s
            if delta > limit:
                raise CounterError(f"{self.path.parent.name} moved by {delta / 1e6:.0f} J, more than it can draw")
            self._total_uj += delta
            return self._total_uj / 1e6


class RaplSource:
    """Energy source: the sum over CPU packages, and the sum over their DRAM zones where they have one."""

    def __init__(self, zones: dict[str, list[Zone]]) -> None:
        self._zones = zones

    @classmethod
    def open(cls) -> RaplSource:
        """Find the zones through Zeus.

        Raises:
            CounterError: If there is no RAPL here, or no permission to read it; the message says which.
        """
        from zeus.device.cpu import get_cpus
        from zeus.device.exception import ZeusBaseCPUError

        try:
            cpus = [cpu for cpu in get_cpus().cpus if cpu.rapl_file.name.startswith("package")]
        except ZeusBaseCPUError as error:
            raise CounterError(str(error)) from error
        if not cpus:
            raise CounterError("RAPL lists no CPU package")
        packages = [_zone(cpu.rapl_file) for cpu in cpus]
        memories = [_zone(cpu.dram) for cpu in cpus if cpu.dram is not None]
        return cls({"cpu": packages, "dram": memories} if memories else {"cpu": packages})

    def describe(self) -> list[SourceInfo]:
        """One line a component."""
        covers = {"cpu": "CPU packages", "dram": "memory"}
        return [
            SourceInfo(name, f"RAPL, {len(zones)} zone(s)", Method.MEASURED_COUNTER, covers[name])
            for name, zones in self._zones.items()
        ]

    def begin(self) -> dict[str, float | CounterError]:
        """Joules so far by component."""
        return {name: _read(zones) for name, zones in self._zones.items()}

    def end(self, state: dict[str, float | CounterError], duration_s: float) -> list[EnergyFigure]:
        """Joules between the two readings by component; unavailable, with the reason, if either failed."""
        return [self._figure(name, state[name], _read(zones)) for name, zones in self._zones.items()]

    def _figure(self, name: str, start: float | CounterError, end: float | CounterError) -> EnergyFigure:
        source = f"RAPL, {len(self._zones[name])} zone(s)"
        for reading in (start, end):
            if isinstance(reading, CounterError):
                return unavailable(name, source, str(reading))
        joules = _joules(end) - _joules(start)
        if joules <= 0:
            return unavailable(name, source, "the counter did not move within the window")
        covers = "CPU packages" if name == "cpu" else "memory"
        return EnergyFigure(name, joules, joules, joules, Method.MEASURED_COUNTER, source, covers)

    def close(self) -> None:
        """Nothing to release."""


def _joules(reading: float | CounterError) -> float:
    assert isinstance(reading, float), "failed readings were answered before"
    return reading


def _zone(file: _RaplFile) -> Zone:
    return Zone(Path(file.energy_uj_path), file.max_energy_range_uj)


def _read(zones: list[Zone]) -> float | CounterError:
    try:
        return sum(zone.read_j() for zone in zones)
    except CounterError as error:
        return error
