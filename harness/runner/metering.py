"""Lightning callbacks that open and close the meter's windows, so that only the work itself is inside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl

from harness.config.platform import ProtocolConfig
from harness.energy.callback import WindowCallback
from harness.energy.meter import EnergyMeter, OpenWindow, Window, Work
from harness.energy.segments import energy_over, without_short_repeats
from harness.metrics.efficiency import ratio
from harness.runner.progress import Progress

# Label of the windows that hold optimiser steps, those of the warm-up included.
TRAINING = "training"


class MeteredEvaluation(WindowCallback):
    """One window around the batches of one `Trainer.test`, without the Trainer's own start and end.

    Args:
        meter: The run's meter.
        phase, repeat: Of the window.
        work: Gives the work done, once it is done.
        lead_in: Batches before the window opens.
    """

    def __init__(
        self, meter: EnergyMeter, phase: str, repeat: int | None, work: Callable[[], Work], lead_in: int = 0
    ) -> None:
        super().__init__(meter)
        self._phase = phase
        self._repeat = repeat
        self._work = work
        self._lead_in = lead_in
        self._window: OpenWindow | None = None

    def elapsed_s(self) -> float:
        """Seconds since the window was opened; 0 before."""
        return 0.0 if self._window is None else time.perf_counter() - self._window.started

    def on_test_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Open the window where every batch counts."""
        if self._lead_in == 0:
            self._window = self.open_window("test", self._phase, self._repeat)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Open the window after the lead-in."""
        if batch_idx + 1 == self._lead_in:
            self._window = self.open_window("test", self._phase, self._repeat)

    def on_test_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Close the window with the work that was done in it."""
        assert self._window is not None, "it was opened before the first batch that counts"
        self._window.work = self._work()
        self.close_window("test")


class MeteredTraining(WindowCallback):
    """Windows of whole steps over a training: warm-up first, then measured repeats of at least the protocol's length.

    What is no training, such as a validation, pauses it: the window closes before, and another of the same repeat opens
    after. Steps that would not fill a further repeat belong to the last one.

    Args:
        meter: The run's meter.
        protocol: Warm-up and window length.
        work: Work of the micro-batches from a first on, before a last.
        accumulate: Micro-batches of a step.
        start: Micro-batches that were done before an interruption.
        repeats: Repeats that were measured before it; it is warmed up again.
    """

    def __init__(
        self,
        meter: EnergyMeter,
        protocol: ProtocolConfig,
        work: Callable[[int, int], Work],
        accumulate: int = 1,
        start: int = 0,
        repeats: int = 0,
    ) -> None:
        super().__init__(meter)
        self._protocol = protocol
        self._work = work
        self._accumulate = accumulate
        self._warm = False
        self._repeat = repeats + 1  # the next, or the one that is being measured
        self._repeat_first = start  # its first micro-batch
        self._earlier_s = 0.0  # its seconds before the last pause
        self._window_first = start  # first micro-batch of the open window
        self._opened_at = 0.0
        self._steps_done = start  # micro-batches of whole steps
        self.batches_done = start

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Open the warm-up window."""
        self._begin()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count; where the repeat is complete and the steps that are left fill another, begin the next."""
        self.batches_done = batch_idx + 1
        if self.batches_done % self._accumulate:
            return
        self._steps_done = self.batches_done
        left = trainer.max_steps - self.batches_done // self._accumulate
        if self._complete() and left >= (self._steps() if self._warm else 1):
            self._end()
            self._next()
            self._begin()

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Pause for a validation."""
        self._end()
        self.open_window("pause", "validate")

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Go on after a validation."""
        self.close_window("pause")
        self._begin()

    @contextmanager
    def paused(self, phase: str) -> Iterator[None]:
        """Do something that is no training, in a window of its own."""
        self._end()
        with self.meter_in_use.window(phase):
            yield
        self._begin()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Close what is open, with the whole steps that were done in it."""
        if "steps" in self._open:
            self._note_work()
        super().on_exception(trainer, module, exception)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Close the last window; its repeat is none if it is shorter than the protocol's."""
        self._end()
        windows = self.meter_in_use.windows
        windows[:] = without_short_repeats(windows, "train", self._protocol.window_s)

    def spent(self) -> tuple[float, float | None]:
        """Seconds and joules of training so far; those of the open window at the mean power of those closed."""
        closed = training_windows(self.meter_in_use.windows)
        seconds = sum(window.duration_s for window in closed)
        joules = energy_over(closed).value_j
        open_s = time.perf_counter() - self._opened_at
        power = ratio(joules, seconds)
        return seconds + open_s, None if joules is None or power is None else joules + power * open_s

    def _begin(self) -> None:
        phase, repeat = ("train", self._repeat) if self._warm else ("warmup", None)
        self._window = self.open_window("steps", phase, repeat, TRAINING)
        self._window.segment = True
        self._window_first = self.batches_done
        self._opened_at = time.perf_counter()

    def _end(self) -> None:
        """Close the window; one without a step is dropped."""
        if self.batches_done == self._window_first:
            self.drop_window("steps")
            return
        self._note_work()
        self._earlier_s += time.perf_counter() - self._opened_at
        self.close_window("steps")

    def _note_work(self) -> None:
        self._window.work = self._work(self._window_first, self._steps_done)

    def _next(self) -> None:
        """What is measured next: the first repeat after the warm-up, or the repeat after this one."""
        self._repeat, self._warm = (self._repeat + 1 if self._warm else self._repeat), True
        self._repeat_first, self._earlier_s = self.batches_done, 0.0

    def _steps(self) -> int:
        """Steps of the warm-up or the repeat so far."""
        return (self.batches_done - self._repeat_first) // self._accumulate

    def _complete(self) -> bool:
        elapsed = self._earlier_s + time.perf_counter() - self._opened_at
        if not self._warm:
            return self._steps() >= self._protocol.warmup_iterations and elapsed >= self._protocol.warmup_s
        return elapsed >= self._protocol.window_s


def training_windows(windows: Sequence[Window]) -> list[Window]:
    """The windows that hold optimiser steps, those of the warm-up included."""
    return [window for window in windows if window.label == TRAINING]


class ReportProgress(pl.Callback):
    """Tells a function how far the Trainer has come."""

    def __init__(self, phase: str, progress: Progress) -> None:
        self._phase = phase
        self._progress = progress

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Steps done of all steps."""
        self._progress(self._phase, trainer.global_step, trainer.max_steps)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Batches of a validation done."""
        self._progress("validate", batch_idx + 1, None)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Batches done of all batches."""
        batches = trainer.num_test_batches[0]
        self._progress(self._phase, batch_idx + 1, batches if isinstance(batches, int) else None)
