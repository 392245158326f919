"""What a training may spend before it ends: seconds, joules, tokens."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import pytorch_lightning as pl

from harness.config.task import StopConfig
from harness.energy.figure import Method, counted
from harness.energy.meter import EnergyMeter
from harness.errors import UserError
from harness.runner.batches import StepSize, TrainingBatches
from harness.runner.metering import MeteredTraining


class Budget(pl.Callback):
    """Ends the training at the step where its seconds or joules reach what it may spend.

    Args:
        stop: The limits.
        metering: Knows what was spent.
    """

    def __init__(self, stop: StopConfig, metering: MeteredTraining) -> None:
        self._stop = stop
        self._metering = metering
        self.stop_reason = ""

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare what was spent with the limits, after each step."""
        unlimited = self._stop.seconds is None and self._stop.joules is None
        if unlimited or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        seconds, joules = self._metering.spent()
        reason = ""
        if self._stop.seconds is not None and seconds >= self._stop.seconds:
            reason = f"budget of {self._stop.seconds:g} s reached at step {trainer.global_step}"
        elif self._stop.joules is not None and joules is not None and joules >= self._stop.joules:
            reason = f"budget of {self._stop.joules:g} J reached at step {trainer.global_step}"
        self.stop_reason = trainer.strategy.broadcast(reason)  # Only the first process reads energy.
        if self.stop_reason:
            trainer.should_stop = True


def check_energy_budget(stop: StopConfig, meter: EnergyMeter) -> None:
    """Check that a budget in joules can be kept.

    Raises:
        UserError: If no source gives energy, or one of several does not, so that there is no total.
    """
    sources = counted(meter.describe())
    missing = [source.component for source in sources if source.method is Method.UNAVAILABLE]
    if stop.joules is not None and (missing or not sources):
        raise UserError(
            f"task.stop.joules={stop.joules:g}: this run has no source of energy{' for ' * bool(missing)}"
            f"{' and '.join(missing)}",
            remedy="use energy=auto or energy=modelled, or another of task.stop",
        )


def steps_of_budget(stop: StopConfig, batches: TrainingBatches, size: StepSize) -> int:
    """Optimiser steps until the token budget is reached, or all."""
    budget = stop.tokens
    if budget is None:
        return size.steps

    def reached(steps: int) -> bool:
        tokens = batches.work(0, steps * size.micro_batches).tokens
        return tokens is not None and tokens >= budget

    high = 1  # Doubled first: batches far beyond the budget need not be made.
    while high < size.steps and not reached(high):
        high = min(2 * high, size.steps)
    return bisect_left(range(1, high), True, key=reached) + 1
