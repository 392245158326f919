"""What a run tells those who watch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Progress = Callable[[str, int, int | None], None]
"""Told after each iteration: phase, iterations done, iterations in all (None if open-ended)."""


@dataclass(frozen=True)
class Report:
    """How far a run has come.

    Attributes:
        phase: What it does now.
        done, total: Iterations of the phase; a total of None is open-ended.
        tokens_per_second: Of the last window that was closed; None where it has no tokens.
        spent: Seconds and joules of the windows that are closed, as `summary.run` of a record has them.
    """

    phase: str
    done: int
    total: int | None
    tokens_per_second: float | None
    spent: dict[str, Any]


Watch = Callable[[Report], None]
"""Told how far a run has come."""
