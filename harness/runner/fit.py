"""The fit of a training: a Trainer with the callbacks that measure, look at quality, end it in time and save it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from harness.config.fingerprint import fingerprint, run_id
from harness.config.task import TrainTaskConfig, ValidationConfig
from harness.energy.segments import without_short_repeats
from harness.metrics.efficiency import complete_sum, ratio
from harness.record.windows import write_frame
from harness.runner.adapt import compile_in_place, warm_compiled
from harness.runner.batches import ScoringBatches, StepSize, TrainingBatches, TrainLoader
from harness.runner.budget import Budget, steps_of_budget
from harness.runner.checkpoint import Resumed, TrainingCheckpoint, find_checkpoint, load_weights
from harness.runner.curve import QualityCurve, missed_target, to_target
from harness.runner.loggers import open_logger
from harness.runner.metering import MeteredTraining, ReportProgress, training_windows
from harness.runner.module import LanguageModule
from harness.runner.ranks import rank_and_ranks, strategy_options
from harness.runner.session import Session

log = logging.getLogger("harness")


@dataclass(frozen=True)
class Watch:
    """The callbacks of a fit, in the order in which Lightning calls them.

    The curve comes before the metering, which opens the next window of training when a validation ends.
    """

    progress: ReportProgress
    curve: QualityCurve
    metering: MeteredTraining
    budget: Budget
    checkpoint: TrainingCheckpoint

    @property
    def callbacks(self) -> list[pl.Callback]:
        """For the Trainer."""
        return [self.progress, self.curve, self.metering, self.budget, self.checkpoint]


@dataclass(frozen=True)
class Training:
    """A training that is ready to start.

    Attributes:
        session, task: What is trained, and how.
        size: How a step is cut.
        batches: Every micro-batch.
        validation: Batches of the validation text.
        every: Steps between validations, or None.
        steps: Optimiser steps at most, by the number asked for and the budget of tokens.
        resumed: What it goes on from.
    """

    session: Session
    task: TrainTaskConfig
    size: StepSize
    batches: TrainingBatches
    validation: ScoringBatches | None
    every: int | None
    steps: int
    resumed: Resumed

    @classmethod
    def of(cls, session: Session, task: TrainTaskConfig, context: int, size: StepSize) -> Training:
        """Make batches, and look for a checkpoint.

        Raises:
            UserError: If the text is too short, or the checkpoint belongs to another configuration.
        """
        batches = session.objective.training_batches(session, context, size)
        every = validation_interval(task.validation, batches, size)
        return cls(
            session,
            task,
            size,
            batches,
            session.objective.validation_batches(session, context, task.validation.max_bytes) if every else None,
            every,
            steps_of_budget(task.stop, batches, size),
            find_checkpoint(session.folder, fingerprint(session.config)),
        )

    def fit(self, module: LanguageModule) -> dict[str, Any]:
        """Train; returns what the record says of it, with the reason why it stopped."""
        if self.resumed.path is not None:
            _put_before(self.session, self.resumed)
        watch = self._watch()
        loader = TrainLoader(self.batches, self.resumed.batches, rank_and_ranks(self.session.config))
        trainer = self._trainer(watch.callbacks)
        reason = self.resumed.stop_reason
        if reason:
            load_weights(module, self.resumed)
        else:
            self._compile(module)
            module.train()
            trainer.fit(module, loader, self.validation, ckpt_path=self.resumed.path, weights_only=True)
            reason = self._stop_reason(watch)
            watch.checkpoint.save_last(trainer, reason)
        losses = [*self.resumed.losses, *(float(loss) for loss in module.losses)]
        if trainer.is_global_zero:
            write_curves(self.session.folder, losses, watch.curve.points, self.size.micro_batches)
        return {
            "stop_reason": reason,
            "steps": watch.metering.batches_done // self.size.micro_batches,
            "tokens": self.batches.work(0, watch.metering.batches_done).tokens,
            "final_loss": losses[-1] if losses else None,
            "data_wait_s": loader.wait_s,
            "data_wait_share": self._share_of_this_session(loader.wait_s),
            "interruptions": len(self.resumed.lost),
            "lost_s": complete_sum([lost["seconds"] for lost in self.resumed.lost]),
            "lost_energy_j": complete_sum([lost["joules"] for lost in self.resumed.lost]),
            **to_target(watch.curve.points, self.task.stop),
        }

    def _watch(self) -> Watch:
        session, task, resumed = self.session, self.task, self.resumed
        repeats = [window.repeat or 0 for window in resumed.windows if window.phase == "train"]
        metering = MeteredTraining(
            session.meter,
            session.config.protocol,
            self.batches.work,
            accumulate=self.size.micro_batches,
            start=resumed.batches,
            repeats=max(repeats, default=0),
        )
        curve = QualityCurve(session.meter, self.validation, self.batches.work, metering, task.stop, resumed.points)
        checkpoint = TrainingCheckpoint(
            session.folder,
            task.checkpoint_every,
            fingerprint(session.config),
            session.meter,
            metering,
            curve,
            resumed,
        )
        return Watch(
            ReportProgress("train", session.progress), curve, metering, Budget(task.stop, metering), checkpoint
        )

    def _trainer(self, callbacks: list[pl.Callback]) -> pl.Trainer:
        config, options = self.session.config, {}
        if self.every is not None:
            options["val_check_interval"] = self.every * self.size.micro_batches
        return self.session.trainer(
            callbacks,
            max_steps=self.steps,
            max_epochs=1,
            accumulate_grad_batches=self.size.micro_batches,
            gradient_clip_val=self.task.optimizer.gradient_clip_norm,
            num_sanity_val_steps=0,
            check_val_every_n_epoch=None,
            logger=open_logger(config.logger, self.session.folder, run_id(config)) or False,
            **options,
            **strategy_options(config),
        )

    def _compile(self, module: LanguageModule) -> None:
        """Compile in a window of its own."""
        if self.task.compile:
            precision = self.session.config.precision
            autocast = getattr(torch, precision.compute) if precision.lightning.endswith("-mixed") else None
            compile_in_place(module.network)
            self.session.progress("compile", 0, None)
            with self.session.meter.window("compile"):
                share = TrainLoader(self.batches, share=rank_and_ranks(self.session.config))
                warm_compiled(module.network, next(iter(share))[0], autocast)

    def _stop_reason(self, watch: Watch) -> str:
        """What ended the training, whether it met its target, and whether its steps filled enough windows."""
        steps = watch.metering.batches_done // self.size.micro_batches
        ended = watch.curve.stop_reason or watch.budget.stop_reason or f"all {steps} steps"
        windows = len({window.repeat for window in self.session.meter.windows if window.phase == "train"} - {None})
        wanted = self.session.config.protocol.min_repeats
        few = f", which fill {windows} windows and not {wanted}: raise task.steps" if windows < wanted else ""
        return ended + missed_target(watch.curve.points, self.task.stop) + few

    def _share_of_this_session(self, seconds: float) -> float | None:
        """Over the training time since the last interruption."""
        windows = training_windows(self.session.meter.windows_of_this_session())
        return ratio(seconds, sum(window.duration_s for window in windows))


def validation_interval(settings: ValidationConfig, batches: TrainingBatches, size: StepSize) -> int | None:
    """Steps between validations; None for no validation."""
    if settings.every_tokens is None:
        return settings.every
    sample = min(size.steps, 100)
    tokens = batches.work(0, sample * size.micro_batches).tokens
    assert tokens is not None, "every objective counts tokens"
    return max(1, round(settings.every_tokens * sample / tokens))


def _put_before(session: Session, resumed: Resumed) -> None:
    """Put the windows from before an interruption first, at times before this meter's start."""
    ended = max((window.start_s + window.duration_s for window in resumed.windows), default=0.0)
    whole = without_short_repeats(resumed.windows, "train", session.config.protocol.window_s)
    session.meter.windows[:0] = [replace(window, start_s=window.start_s - ended) for window in whole]
    log.info("going on after %d micro-batches from %s", resumed.batches, resumed.path)


def write_curves(folder: Path, losses: Sequence[float], points: Sequence[Any], micro_batches: int) -> None:
    """Write the loss of every step, the mean over its micro-batches; and the quality curve, where there is one."""
    steps = [losses[start : start + micro_batches] for start in range(0, len(losses), micro_batches)]
    rows = [{"step": number, "loss": sum(step) / len(step)} for number, step in enumerate(steps, start=1)]
    write_frame(folder / "losses.parquet", rows)
    if points:
        write_frame(folder / "curve.parquet", [asdict(point) for point in points])
