"""Time and memory that a cell may use."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness.config.schema import Config
from harness.errors import Terminated, TimeLimitExceeded


@contextmanager
def limits(config: Config) -> Iterator[None]:
    """Raise `TimeLimitExceeded` in the main thread after the cell's time; let allocations beyond its memory fail.

    Memory is what a process writes to, resident or not (RLIMIT_DATA): an allocation that would exceed it raises
    MemoryError, or what a library makes of that. A GPU's own memory is not limited.
    """
    with _time_limit(config.time_limit_s), _memory_limit(config.memory_limit_bytes):
        yield


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeLimitExceeded(seconds)

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _memory_limit(count: int | None) -> Iterator[None]:
    if count is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def heed_termination(once: bool = False) -> None:
    """Let SIGTERM and SIGHUP, as schedulers and terminals send them at the end, end this process as Ctrl-C does.

    Args:
        once: Whether what asks again is ignored, so that it does not disturb the ending.
    """
    asking = [signal.SIGTERM, signal.SIGHUP]

    def terminate(number: int, frame: FrameType | None) -> None:
        for asked in [*asking, *([signal.SIGINT] if once else [])]:
            signal.signal(asked, signal.SIG_IGN)
        raise Terminated

    for number in asking:
        signal.signal(number, terminate)
