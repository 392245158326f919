"""Knowledge distillation (Hinton et al. 2015): a small model learns from a larger one's distribution."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.config.task import DistillationConfig
from harness.data.tokens import IGNORED
from harness.errors import UserError
from harness.models.checkpoint import TrainedModel, load_trained
from harness.models.loaded import LoadedModel
from harness.runner.batches import Batch
from harness.runner.module import Loss
from harness.runner.precision import DTYPES
from harness.runner.session import Session


def load_teacher(session: Session, path: str, context: int) -> TrainedModel:
    """The teacher, on the run's device.

    Raises:
        UserError: If there is none, or it does not fit the student: another tokenizer, or a shorter context.
    """
    config = session.config
    dtype = DTYPES[config.precision.weights]
    trained = load_trained(path, "task.distillation.teacher", session.corpus, session.cache_dir, dtype)
    teacher = trained.model
    if teacher.tokenizer.identity != session.model.tokenizer.identity:
        raise UserError(
            f"task.distillation.teacher={path}: the teacher's tokenizer is {teacher.tokenizer.name}, and the student's "
            f"another one ({session.model.tokenizer.name})",
            remedy="train both with the same data and model.tokenizer",
        )
    if teacher.context_length < context:
        raise UserError(
            f"task.distillation.teacher={path}: it reads at most {teacher.context_length} tokens, not {context}",
            remedy=f"use task.context={teacher.context_length} or less",
        )
    teacher.network.to(config.hardware.accelerator).eval()
    return trained


def distillation_loss(teacher: LoadedModel, settings: DistillationConfig, hard: Loss) -> Loss:
    """`weight` * T^2 * KL(teacher || student), both at temperature T, + (1 - `weight`) * the hard loss."""

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        inputs, targets = batch
        with torch.no_grad():
            wanted = teacher.network(*inputs)
        scored = targets.flatten() != IGNORED
        soft = F.kl_div(
            F.log_softmax(logits.flatten(0, 1)[scored].float() / settings.temperature, dim=-1),
            F.log_softmax(wanted.flatten(0, 1)[scored].float() / settings.temperature, dim=-1),
            reduction="batchmean",
            log_target=True,
        )
        return settings.weight * settings.temperature**2 * soft + (1 - settings.weight) * hard(logits, batch)

    return loss
