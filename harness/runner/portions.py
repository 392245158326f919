"""A workload that is done once, measured in portions: windows of whole batches, each of the protocol's length."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from harness.energy.meter import Work
from harness.energy.segments import energy_over, without_short_repeats
from harness.metrics.efficiency import complete_sum, ratio
from harness.runner.batches import WorkSums
from harness.runner.session import Session

Item = TypeVar("Item")


class Portions:
    """Windows of one phase, one after the other; each is a repeat, but for a last one that is too short.

    Their scatter is that of the workload's parts, which differ.

    Args:
        session: Gives meter, protocol and progress.
        phase: Of the windows.
        measured: Whether they are repeats of it, or only done, such as a warm-up.
    """

    def __init__(self, session: Session, phase: str, measured: bool = True) -> None:
        self._session = session
        self._phase = phase
        self._measured = measured
        self._repeat = 0

    def over(self, batches: Sequence[Item], do: Callable[[Item], Work]) -> None:
        """Do every batch; `do` returns the work that it was."""
        waiting = list(reversed(batches))
        while waiting:
            self._repeat += 1
            self._session.progress(self._phase, self._repeat, None)
            with self._session.meter.window(self._phase, self._repeat if self._measured else None) as window:
                window.segment = True  # The last one may be short, which makes it no repeat.
                started, done = time.perf_counter(), WorkSums()
                while waiting and (not len(done) or time.perf_counter() - started < self._window_s):
                    done.append(do(waiting.pop()))
                window.work = done.between(0, len(done))
        windows = self._session.meter.windows
        windows[:] = without_short_repeats(windows, self._phase, self._window_s)

    @property
    def _window_s(self) -> float:
        return self._session.config.protocol.window_s

    def costs(self, answers: int | None, correct: float | None) -> dict[str, float | None]:
        """Seconds and joules of every window, and joules over requests, over answers and over correct ones.

        A question with choices makes a request of each; an answer is what a question gets.
        """
        windows = [window for window in self._session.meter.windows if window.phase == self._phase]
        joules = energy_over(windows).value_j
        requests = complete_sum([window.work.samples for window in windows])
        return {
            "requests": requests,
            "duration_s": sum(window.duration_s for window in windows),
            "total_energy_j": joules,
            "joules_per_request": ratio(joules, requests),
            "answers": answers,
            "joules_per_answer": ratio(joules, answers),
            "joules_per_correct_answer": ratio(joules, correct),
        }
