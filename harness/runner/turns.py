"""Cells whose repeats are interleaved: between two repeats, a cell waits until it is its turn again."""

from __future__ import annotations

import time
from collections.abc import Callable

_wait: list[Callable[[], None]] = []
_waited_s = [0.0]


def take_turns(wait: Callable[[], None]) -> None:
    """From now on, let `wait` return before each further repeat."""
    _wait[:] = [wait]


def turns_are_taken() -> bool:
    """Whether other cells work between this one's repeats."""
    return bool(_wait)


def between_repeats() -> None:
    """Wait for the next turn, where cells take turns; nothing otherwise."""
    started = time.perf_counter()
    for wait in _wait:
        wait()
        _waited_s[0] += time.perf_counter() - started


def waited_s() -> float:
    """Seconds that this process has waited for turns."""
    return _waited_s[0]
