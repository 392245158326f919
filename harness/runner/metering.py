"""Lightning callbacks that open and close the meter's windows, so that only the work itself is inside."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl

from harness.config.platform import ProtocolConfig
from harness.energy.callback import WindowCallback
from harness.energy.meter import EnergyMeter, OpenWindow, Work

Progress = Callable[[str, int, int | None], None]
"""Told after each iteration: phase, iterations done, iterations in all (None if open-ended)."""


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

    Args:
        meter: The run's meter.
        protocol: Warm-up and window length.
        step: Work of one step.
    """

    def __init__(self, meter: EnergyMeter, protocol: ProtocolConfig, step: Work) -> None:
        super().__init__(meter)
        self._protocol = protocol
        self._step = step
        self._opened_at = 0.0
        self._steps = 0
        self._repeat = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Open the warm-up window."""
        self._begin("warmup", None, TRAINING)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step; where the window is complete and the steps left fill another, close it and open the next."""
        self._steps += 1
        self._window.work = times(self._step, self._steps)
        enough = 1 if self._repeat == 0 else self._steps
        if self._complete() and trainer.max_steps - trainer.global_step >= enough:
            self.close_window("steps")
            self._repeat += 1
            self._begin("train", self._repeat, TRAINING)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Close the last window; it is no repeat if it is shorter than the protocol's."""
        if not self._complete():
            self._window.repeat = None
        self.close_window("steps")

    def _complete(self) -> bool:
        elapsed = time.perf_counter() - self._opened_at
        if self._repeat == 0:
            return self._steps >= self._protocol.warmup_iterations and elapsed >= self._protocol.warmup_s
        return elapsed >= self._protocol.window_s

    def _begin(self, phase: str, repeat: int | None, label: str) -> None:
        self._window = self.open_window("steps", phase, repeat, label)
        self._window.work = times(self._step, 0)
        self._opened_at, self._steps = time.perf_counter(), 0


def times(step: Work, count: int) -> Work:
    """The work of `count` equal steps."""
    scaled = {name: None if value is None else value * count for name, value in vars(step).items()}
    return replace(step, **scaled)


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
