"""The machine and the software that a run was made with.

No secrets: of the environment's variables only those on a list are read.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from harness import __version__
from harness.config.fingerprint import content_hash
from harness.energy.host import cpu_name

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "transformers",
    "tokenizers",
    "safetensors",
    "zeus",
    "hydra-core",
    "numpy",
    "scipy",
    "datasets",
)
VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HUB_OFFLINE")

# Whether a hub may be asked changes what is found, which records say by hash, and no figure.
_NO_IDENTITY = {"HF_HUB_OFFLINE"}

# What makes two environments comparable; the rest (time of day, free memory, commit) is noted and not compared.
_IDENTITY = ("python", "os", "cpu", "logical_cpus", "memory_bytes", "packages", "gpus", "threads", "variables")


def describe_environment() -> dict[str, Any]:
    """Software versions, processor, memory, GPUs, thread counts and the commit of this program."""
    import torch

    return {
        "joulebench": __version__,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": _is_dirty(),
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
        "cpu": cpu_name(),
        "logical_cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "threads": torch.get_num_threads(),
        "gpus": _gpus(),
        "gpu_temperatures_c": [_nvml(gpu, _temperature) for gpu in _cuda_boards()],
        "packages": {name: _version(name) for name in PACKAGES},
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def current_environment() -> dict[str, Any]:
    """The parts of this environment that `comparable` looks at, without starting torch."""
    return {
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "logical_cpus": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "gpus": [{"name": name} for name in _board_names()],
    }


def comparable(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What may change a result from one run of a cell to the next, flat: interpreter, processor, boards, packages."""
    return {
        **{key: environment[key] for key in ("python", "cpu", "logical_cpus")},
        "gpus": ", ".join(board["name"] for board in environment["gpus"]) or "none",
        **{f"packages.{name}": found for name, found in environment["packages"].items()},
    }


def identity(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree before two runs are pooled."""
    variables = environment.get("variables") or {}
    told = {name: value for name, value in variables.items() if name not in _NO_IDENTITY}
    return {**{key: environment.get(key) for key in _IDENTITY}, "variables": told}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys that two flat environments both have with unlike values, as key: (then, now)."""
    return {key: (then[key], now[key]) for key in then.keys() & now.keys() if then[key] != now[key]}


@cache
def _board_names() -> tuple[str, ...]:
    """Names of the GPUs that CUDA shows; torch is started only where the driver is there."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not Path("/dev/nvidiactl").exists():
        return ()
    return tuple(board.name for board in _cuda_boards())


def environment_fingerprint(environment: dict[str, Any]) -> str:
    """Hash of what must agree before two runs are pooled, as 16 hexadecimal digits."""
    return content_hash(identity(environment))[:16]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpus() -> list[dict[str, Any]]:
    import torch

    return [
        {
            "name": board.name,
            "memory_bytes": board.total_memory,
            "cuda": torch.version.cuda,
            **(_nvml(board, _driver) or {}),
        }
        for board in _cuda_boards()
    ]


def _cuda_boards() -> list[Any]:
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]


def _nvml(board: Any, read: Callable[[Any, Any], Any]) -> Any:
    """What NVML says of a board, found by its UUID since CUDA may number boards otherwise; None where it does not."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return read(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{board.uuid}"))
    except pynvml.NVMLError:
        return None


def _driver(pynvml: Any, handle: Any) -> dict[str, Any]:
    """Driver version, power limit and largest clock."""
    return {
        "driver": pynvml.nvmlSystemGetDriverVersion(),
        "power_limit_w": pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
        "max_sm_clock_mhz": pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM),
    }


def _temperature(pynvml: Any, handle: Any) -> float:
    """Degrees Celsius now."""
    return float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def _git(*arguments: str) -> str | None:
    """What git says of this checkout; without its index's lock, which a run that is killed would leave behind."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _is_dirty() -> bool | None:
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return None if changes is None else bool(changes)
