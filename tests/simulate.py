"""Counters with a known truth, where Zeus looks for real ones."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
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
        (folder / "energy_uj").write_text("0")

    def counter(self, zone: str) -> Path:
        paths = {"package-0": "intel-rapl:0", "package-1": "intel-rapl:1", "psys": "intel-rapl:2",
                 "dram": "intel-rapl:0/intel-rapl:0:0"}  # fmt: skip
        return self.root / paths[zone] / "energy_uj"

    def add_j(self, zone: str, joules: float) -> None:
        """Let a zone draw some energy; its counter wraps as the real one does."""
        path = self.counter(zone)
        path.write_text(str(int((int(path.read_text()) + joules * 1e6) % self.range_uj)))


@dataclass
class SimulatedNvml:
    """The part of pynvml that Zeus uses, over counters that a test moves."""

    energy_mj: list[float] = field(default_factory=list)
    power_mw: list[float] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)

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
            nvmlDeviceGetArchitecture=lambda handle: pynvml.NVML_DEVICE_ARCH_HOPPER,
            nvmlDeviceGetTotalEnergyConsumption=simulated._energy,
        )
        monkeypatch.setattr(nvidia, "pynvml", fake)
        monkeypatch.setattr(gpu, "_gpus", None)
        monkeypatch.setattr(gpu, "nvml_is_available", lambda: True)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return simulated

    def _energy(self, handle: int) -> int:
        import pynvml

        if handle in self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return int(self.energy_mj[handle])
