"""What the operating system tells about this machine and this process."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

SMT_CONTROL = Path("/sys/devices/system/cpu/smt/control")


@cache
def cpu_name() -> str:
    """The CPU's marketing name, as the operating system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# Processes of this run that are not children of this one, such as its other ranks under a launcher.
_peers: set[int] = set()


def count_as_own(pids: Iterable[int]) -> None:
    """From now on, some processes of this machine and their children are this run's as well."""
    _peers.update(pid for pid in pids if pid != os.getpid())


def own_processes() -> set[int]:
    """Numbers of this process, its children and theirs, and of what counts as own."""
    return {os.getpid(), *(child.pid for child in _descendants())}


def hardware_threads() -> int:
    """Hardware threads that this machine's share of the CPU stands for: two a logical CPU where SMT is switched off."""
    off = SMT_CONTROL.exists() and SMT_CONTROL.read_text().strip() in ("off", "forceoff")
    return (os.cpu_count() or 1) * (2 if off else 1)


def own_cpu_seconds() -> float:
    """CPU seconds, user and system, of this process and all its children, those that have ended included.

    Those of other processes that count as own (`count_as_own`) too.
    """
    ended = os.times()
    seconds = time.process_time() + ended.children_user + ended.children_system
    for child in _descendants():
        try:
            used = child.cpu_times()
        except psutil.Error:
            continue
        seconds += used.user + used.system + getattr(used, "children_user", 0) + getattr(used, "children_system", 0)
    return seconds


def _descendants() -> list[psutil.Process]:
    """Living children and theirs; where the kernel lists them, without a look at every process of the machine."""
    peers = [pid for pid in _peers if psutil.pid_exists(pid)]
    roots = [os.getpid(), *peers]
    listed = list(roots)
    try:
        for pid in listed:  # The list grows by each one's children while it is walked.
            for task in Path(f"/proc/{pid}/task").iterdir():
                listed.extend(map(int, (task / "children").read_text().split()))
        found = [psutil.Process(pid) for pid in listed[1:]]
    except (OSError, psutil.Error):  # No such list here, or a child that ended just now.
        found = []
        for root in roots:
            with suppress(psutil.Error):  # It has ended.
                tree = psutil.Process(root)
                found += [tree, *tree.children(recursive=True)]
    return [process for process in dict.fromkeys(found) if process.pid != os.getpid()]


def foreign_seconds(before_s: float | None, now_s: float | None, own_s: float) -> float | None:
    """CPU seconds of all others, from two readings of the machine's and our own between them."""
    return None if before_s is None or now_s is None else max(0.0, now_s - before_s - own_s)


def machine_cpu_seconds() -> float | None:
    """CPU seconds that this machine has spent on anything but idling, stolen time included.

    None where the system counts nobody's, as some sandboxes do (gVisor): that others do nothing is then not known.
    """
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - guest) if any(times) else None
