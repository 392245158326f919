"""Peak memory since a moment."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from harness.energy.cuda import cuda_in_use

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peaks() -> None:
    """Begin again to look for the largest memory, where the system can: Linux, and CUDA."""
    with suppress(OSError):
        _CLEAR.write_text("5")
    if cuda_in_use():
        torch.cuda.reset_peak_memory_stats()


def peak_rss_bytes() -> int:
    """Largest resident memory of this process in bytes, since `reset_peaks` where the system can tell."""
    with suppress(OSError):
        for line in _STATUS.read_text().split("\n"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_cuda(name: str) -> int | None:
    """One of CUDA's peaks in bytes, since `reset_peaks`; None without CUDA."""
    if not cuda_in_use():
        return None
    peak: int = getattr(torch.cuda, name)()
    return peak
