"""What this device can run."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from harness.config.platform import HardwareConfig, PrecisionConfig
from harness.config.schema import Config
from harness.energy.host import cpu_name
from harness.errors import Unsupported

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def require_supported(config: Config) -> None:
    """Check that this machine has the devices, that these have the precision, and that the task uses as many.

    Raises:
        Unsupported: If not, with the reason.
    """
    precision, hardware = config.precision, config.hardware
    if hardware.devices != 1 and not config.task.several_devices:
        raise Unsupported(
            f"hardware.devices={hardware.devices}: task={config.task.name} uses one device",
            remedy="use hardware.devices=1; task=train uses several",
        )
    if config.task.trains and (precision.quantisation is not None or config.compression.kind != "none"):
        what = f"precision={precision.name}" if precision.quantisation else f"compression={config.compression.name}"
        raise Unsupported(
            f"{what} is for trained models: task={config.task.name} would train on what is left",
            remedy="train first, keep the checkpoint, and use it with model=checkpoint",
        )
    if hardware.accelerator == "cuda":
        _require_cuda(precision, hardware)
    elif precision.compute in ("tf32", "float8"):
        raise Unsupported(
            f"precision={precision.name}: CPUs have no {precision.compute} arithmetic",
            remedy="use precision=fp32, bf16 or int8 on this machine",
        )
    elif precision.lightning == "16-mixed":
        raise Unsupported(
            f"precision={precision.name}: float16 with loss scaling is for GPUs; a CPU would silently run bfloat16",
            remedy="use precision=bf16-mixed on this machine",
        )
    elif precision.compute == "float16" and not cpu_has_float16():
        raise Unsupported(
            f"precision={precision.name}: this CPU has no float16 arithmetic (AVX512-FP16 or Arm FP16)",
            remedy="use precision=bf16 or fp32 on this machine",
        )


# Compute capability that a scheme or an arithmetic needs.
_CAPABILITY = {"tf32": (8, 0), "int4-weight-only": (8, 0), "float8-dynamic": (8, 9)}


def _require_cuda(precision: PrecisionConfig, hardware: HardwareConfig) -> None:
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if available < hardware.devices:
        raise Unsupported(
            f"hardware={hardware.name}: {hardware.devices} CUDA device(s) asked for, {available} usable here",
            remedy="use hardware=cpu, or a machine with a GPU and a CUDA build of PyTorch",
        )
    needed = _CAPABILITY.get(precision.quantisation or precision.compute, (0, 0))
    if torch.cuda.get_device_capability() < needed:
        raise Unsupported(
            f"precision={precision.name}: {torch.cuda.get_device_name(0)} has compute capability "
            f"{torch.cuda.get_device_capability()}, and {needed} is needed",
            remedy="use precision=bf16, fp16 or fp32 on this device",
        )
    if precision.compute == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise Unsupported(
            f"precision={precision.name}: {torch.cuda.get_device_name(0)} has no bfloat16 arithmetic",
            remedy="use precision=fp16 or fp32 on this device",
        )


def cpu_has_float16() -> bool:
    """Whether this CPU multiplies float16 numbers itself."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.machine() == "arm64"  # Apple's CPUs have it, and have no /proc.
    return bool(set(cpuinfo.read_text().split()) & {"avx512_fp16", "amx_fp16", "asimdhp", "fphp"})


def device_name(hardware: HardwareConfig) -> str:
    """Marketing name of the device that runs the cell."""
    if hardware.accelerator == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return cpu_name()
