"""What the operating system tells about this machine and this process."""

from __future__ import annotations

import platform
import time
from functools import cache
from pathlib import Path

import psutil


@cache
def cpu_name() -> str:
    """The CPU's marketing name, as the operating system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def own_cpu_seconds() -> float:
    """CPU seconds, user and system, of this process and its living children."""
    seconds = time.process_time()
    for child in psutil.Process().children(recursive=True):
        try:
            used = child.cpu_times()
        except psutil.Error:
            continue
        seconds += used.user + used.system
    return seconds


def machine_cpu_seconds() -> float:
    """CPU seconds that this machine has spent on anything but idling, stolen time included."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - guest)
