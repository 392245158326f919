"""Task `train`: training under the meter, then scoring of the held-out text."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any

from harness.config.task import TrainTaskConfig
from harness.errors import UserError
from harness.models.checkpoint import save_checkpoint
from harness.runner.adapt import (
    add_adapters,
    freeze,
    merge_adapters,
    recompute_activations,
    trains_all,
)
from harness.runner.batches import StepSize
from harness.runner.budget import check_energy_budget
from harness.runner.checkpoint import remove_checkpoint
from harness.runner.distil import distillation_loss, load_teacher
from harness.runner.fit import Training
from harness.runner.module import LanguageModule, Loss, cross_entropy
from harness.runner.ranks import other_ranks, shard, shards
from harness.runner.session import Session, TaskOutcome, TrainingCost


def run_train(session: Session) -> TaskOutcome:
    """Train, keep the curve, then score.

    Raises:
        UserError: If the options do not fit the model or the text.
    """
    task = session.config.task
    assert isinstance(task, TrainTaskConfig)
    check_energy_budget(task.stop, session.meter)
    with other_ranks(session.config, session.folder):
        module, found, facts = train(session, task)
    if task.lora.rank is not None:
        merge_adapters(session.model.network)
    if task.save_checkpoint:
        save_checkpoint(session.model, session.folder)
    with session.meter.first_device():
        scored = session.objective.score(session, module, task.scoring)
    remove_checkpoint(session.folder)
    return replace(
        scored, stop_reasons={**scored.stop_reasons, "train": found.pop("stop_reason")}, training=found, model=facts
    )


def train(session: Session, task: TrainTaskConfig) -> tuple[LanguageModule, dict[str, Any], dict[str, Any]]:
    """The training itself: what every rank of it does.

    Returns:
        The trained module, what the record says of the training, and of the model.

    Raises:
        UserError: If the options do not fit the model or the text.
    """
    context = training_context(session, task)
    session, loss, facts = adapt(session, task, context)
    training = Training.of(session, task, context, step_size(session, task))
    network = session.model.network
    if not shards(session.config):
        module = LanguageModule(network, task.optimizer, training.steps, loss)
        return module, training.fit(module), facts
    sharded = LanguageModule(copy.deepcopy(network), task.optimizer, training.steps, loss, shard)
    found = training.fit(sharded)
    if sharded.whole:  # in the first process alone
        network.load_state_dict(sharded.whole)
    return LanguageModule(network), found, facts


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
    batch_size, devices = session.config.batch_size, session.config.hardware.devices
    if batch_size % devices:
        raise UserError(f"hardware.devices={devices} does not divide batch_size={batch_size}")
    share = batch_size // devices
    micro = min(task.micro_batch_size or share, share)
    if share % micro:
        raise UserError(
            f"task.micro_batch_size={micro} does not divide the {share} sequences of a step on each device",
            allowed=[str(size) for size in range(1, share + 1) if share % size == 0],
        )
    return StepSize(task.steps, micro * devices, share // micro)


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
    facts: dict[str, Any] = {"distillation_weight": 0.0}
    if task.distillation.teacher is not None:
        teacher = load_teacher(session, task.distillation.teacher, context)
        loss = distillation_loss(teacher.model, task.distillation, loss)
        cost = replace(cost, forward_only=(teacher.model.shape,))
        facts = {
            "distillation_weight": task.distillation.weight,
            "teacher": teacher.run_id,
            "teacher_energy_j": teacher.training_energy_j,
        }
    return replace(session, training_cost=cost), loss, facts
