"""CUDA as the meter sees it: in use or not, and waiting for it.

Zeus's own synchronising call raises where a GPU stands beside a CPU-only torch; this does not.
"""

from __future__ import annotations

import torch


def cuda_in_use() -> bool:
    """Whether this process has started CUDA."""
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def device_uuid(device: torch.device) -> str:
    """The board's UUID, by which NVML knows it too."""
    return str(torch.cuda.get_device_properties(device).uuid)


def synchronize() -> None:
    """Wait until the work dispatched to CUDA devices is finished; nothing to wait for on a CPU."""
    if cuda_in_use():
        torch.cuda.synchronize()
