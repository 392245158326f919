"""Task `train`: training under the meter, then scoring of the held-out text."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from harness.config.fingerprint import fingerprint
from harness.config.task import TrainTaskConfig, ValidationConfig
from harness.errors import UserError
from harness.metrics.efficiency import complete_sum, ratio
from harness.models.checkpoint import save_checkpoint
from harness.record.windows import write_frame
from harness.runner.adapt import (
    add_adapters,
    compile_in_place,
    freeze,
    merge_adapters,
    recompute_activations,
    trains_all,
    warm_compiled,
)
from harness.runner.batches import StepSize, TrainingBatches, TrainLoader
from harness.runner.budget import Budget, check_energy_budget, steps_of_budget
from harness.runner.checkpoint import Resumed, TrainingCheckpoint, find_checkpoint, remove_checkpoint
from harness.runner.curve import QualityCurve, missed_target, to_target
from harness.runner.distil import distillation_loss, load_teacher
from harness.runner.metering import MeteredTraining, ReportProgress, training_windows
from harness.runner.module import LanguageModule, Loss, cross_entropy
from harness.runner.session import Session, TaskOutcome, TrainingCost

log = logging.getLogger("harness")


def run_train(session: Session) -> TaskOutcome:
    """Train, keep the curve, then score.

    Raises:
        UserError: If the options do not fit the model or the text.
    """
    task = session.config.task
    assert isinstance(task, TrainTaskConfig)
    check_energy_budget(task.stop, session.meter)
    context = training_context(session, task)
    session, loss, facts = adapt(session, task, context)
    training = Training.of(session, task, context)
    module = LanguageModule(session.model.network, task.optimizer, training.steps, loss)
    found = training.fit(module)
    if task.lora.rank is not None:
        merge_adapters(session.model.network)
    if task.save_checkpoint:
        save_checkpoint(session.model, session.folder)
    scored = session.objective.score(session, module, task.scoring)
    return replace(
        scored, stop_reasons={**scored.stop_reasons, "train": found.pop("stop_reason")}, training=found, model=facts
    )


def training_context(session: Session, task: TrainTaskConfig) -> int:
    """Tokens of a training sequence.

    Raises:
        UserError: If they are more than the model reads.
    """
    longest = session.model.context_length
    context = task.context or longest
    if context > longest:
        raise UserError(
            f"task.context={context}: {session.config.model.label} reads at most {longest} tokens",
            remedy="use a smaller task.context, or a larger model.context_length",
        )
    return context


def step_size(session: Session, task: TrainTaskConfig) -> StepSize:
    """How a step is cut into micro-batches.

    Raises:
        UserError: If they are not equal parts of it.
    """
    batch_size = session.config.batch_size
    micro = min(task.micro_batch_size or batch_size, batch_size)
    if batch_size % micro:
        raise UserError(
            f"task.micro_batch_size={micro} does not divide batch_size={batch_size}",
            allowed=[str(size) for size in range(1, batch_size + 1) if batch_size % size == 0],
        )
    return StepSize(task.steps, micro, batch_size // micro)


def adapt(session: Session, task: TrainTaskConfig, context: int) -> tuple[Session, Loss, dict[str, Any]]:
    """Freeze, add adapters, recompute and teach, as the task says.

    Returns:
        The session with what this changes in the cost of a step, the loss, and what the record says of it.

    Raises:
        UserError: If a pattern matches nothing, or the teacher does not fit.
    """
    network = session.model.network
    loss: Loss = partial(cross_entropy, label_smoothing=task.label_smoothing)
    freeze(network, task.freeze)
    if task.lora.rank is not None:
        add_adapters(network, task.lora)
    if task.activation_checkpointing:
        recompute_activations(network)
    cost = TrainingCost(whole_model=trains_all(network))
    facts: dict[str, Any] = {}
    if task.distillation.teacher is not None:
        teacher = load_teacher(session, task.distillation.teacher, context)
        loss = distillation_loss(teacher.model, task.distillation, loss)
        cost = replace(cost, forward_only=(teacher.model.shape,))
        facts = {"teacher": teacher.run_id, "teacher_energy_j": teacher.training_energy_j}
    return replace(session, training_cost=cost), loss, facts


@dataclass(frozen=True)
class Training:
    """A training that is ready to start.

    Attributes:
        session, task: What is trained, and how.
        size: How a step is cut.
        batches: Every micro-batch.
        context: Tokens of a sequence.
        steps: Optimiser steps at most, by the number asked for and the budget of tokens.
        resumed: What it goes on from.
    """

    session: Session
    task: TrainTaskConfig
    size: StepSize
    batches: TrainingBatches
    context: int
    steps: int
    resumed: Resumed

    @classmethod
    def of(cls, session: Session, task: TrainTaskConfig, context: int) -> Training:
        """Make batches, and look for a checkpoint.

        Raises:
            UserError: If the text is too short, or the checkpoint belongs to another configuration.
        """
        size = step_size(session, task)
        batches = session.objective.training_batches(session, context, size)
        resumed = find_checkpoint(session.folder, fingerprint(session.config))
        return cls(session, task, size, batches, context, steps_of_budget(task.stop, batches, size), resumed)

    def fit(self, module: LanguageModule) -> dict[str, Any]:
        """Train; returns what the record says of it, with the reason why it stopped."""
        task, session = self.task, self.session
        if self.resumed.path is not None:
            _put_before(session, self.resumed)
        every = validation_interval(task.validation, self.batches, self.size)
        pauses = (every, task.checkpoint_every)
        metering = MeteredTraining(
            session.meter,
            session.config.protocol,
            self.batches.work,
            self.size.micro_batches,
            pauses,
            self.resumed.batches,
            max((window.repeat or 0 for window in self.resumed.windows if window.phase == "train"), default=0),
        )
        validation = session.objective.validation_batches(session, self.context, task.validation.max_bytes)
        curve = QualityCurve(session.meter, validation, self.batches.work, metering, task.stop)
        curve.points.extend(self.resumed.points)
        budget = Budget(task.stop, metering)
        checkpoint = TrainingCheckpoint(
            session.folder,
            task.checkpoint_every,
            fingerprint(session.config),
            session.meter,
            metering,
            curve,
            self.resumed,
        )
        loader = TrainLoader(self.batches, self.resumed.batches)
        self._compile(module)
        trainer = self._trainer([ReportProgress("train", session.progress), metering, curve, budget, checkpoint], every)
        module.train()
        trainer.fit(
            module,
            loader,
            validation if every is not None else None,
            ckpt_path=self.resumed.path,
            weights_only=True,
        )
        remove_checkpoint(session.folder)
        session_windows = [window for window in training_windows(session.meter.windows) if window.start_s >= 0]
        losses = [*self.resumed.losses, *(float(loss) for loss in module.losses)]
        write_curves(session.folder, losses, curve.points, self.size.micro_batches)
        stopped = curve.stop_reason or budget.stop_reason or f"all {trainer.global_step} steps"
        return {
            "stop_reason": stopped + missed_target(curve.points, task.stop) + self._few_windows(),
            "steps": trainer.global_step,
            "final_loss": losses[-1] if losses else None,
            "tokens": self.batches.work(0, metering.batches_done).tokens,
            "data_wait_s": loader.wait_s,
            "data_wait_share": ratio(loader.wait_s, sum(window.duration_s for window in session_windows)),
            "interruptions": len(self.resumed.lost),
            "lost_s": complete_sum([lost["seconds"] for lost in self.resumed.lost]),
            "lost_energy_j": complete_sum([lost["joules"] for lost in self.resumed.lost]),
            **to_target(curve.points, task.stop),
        }

    def _compile(self, module: LanguageModule) -> None:
        """Compile in a window of its own."""
        if self.task.compile:
            precision = self.session.config.precision
            autocast = getattr(torch, precision.compute) if precision.lightning.endswith("-mixed") else None
            compile_in_place(module.network)
            self.session.progress("compile", 0, None)
            with self.session.meter.window("compile"):
                warm_compiled(module.network, self.batches[0][0], autocast)

    def _trainer(self, callbacks: list[pl.Callback], every: int | None) -> pl.Trainer:
        options: dict[str, Any] = {} if every is None else {"val_check_interval": every * self.size.micro_batches}
        return self.session.trainer(
            callbacks,
            max_steps=self.steps,
            max_epochs=1,
            accumulate_grad_batches=self.size.micro_batches,
            gradient_clip_val=self.task.optimizer.gradient_clip_norm,
            num_sanity_val_steps=0,
            check_val_every_n_epoch=None,
            **options,
        )

    def _few_windows(self) -> str:
        """That the steps filled fewer windows than the protocol asks for."""
        windows = sum(window.phase == "train" and window.repeat is not None for window in self.session.meter.windows)
        wanted = self.session.config.protocol.min_repeats
        return f", which fill {windows} windows and not {wanted}: raise task.steps" if windows < wanted else ""


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
    session.meter.windows[:0] = [replace(window, start_s=window.start_s - ended) for window in resumed.windows]
    log.info("going on after %d micro-batches from %s", resumed.batches, resumed.path)


def write_curves(folder: Path, losses: Sequence[float], points: Sequence[Any], micro_batches: int) -> None:
    """Write the loss of every step, the mean over its micro-batches; and the quality curve, where there is one."""
    steps = [losses[start : start + micro_batches] for start in range(0, len(losses), micro_batches)]
    rows = [{"step": number, "loss": sum(step) / len(step)} for number, step in enumerate(steps, start=1)]
    write_frame(folder / "losses.parquet", rows)
    if points:
        write_frame(folder / "curve.parquet", [asdict(point) for point in points])
