"""Cells whose repeats are interleaved: between two repeats, a cell waits until it is its turn again."""

from __future__ import annotations

from collections.abc import Callable

_wait: list[Callable[[], None]] = []


def take_turns(wait: Callable[[], None]) -> None:
    """From now on, let `wait` return before each further repeat."""
    _wait[:] = [wait]


def between_repeats() -> None:
    """Wait for the next turn, where cells take turns; nothing otherwise."""
    for wait in _wait:
        wait()
