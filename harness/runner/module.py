"""The Lightning module of causal language models: next-token loss in training, summed log-likelihood in scoring."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.config.task import OptimizerConfig
from harness.data.tokens import IGNORED

Batch = tuple[Tensor, Tensor]  # inputs (B, T), targets (B, T)


class LanguageModule(pl.LightningModule):
    """A network that maps token ids (B, T) to logits (B, T, V).

    Args:
        network: The model.
        optimizer: How it is trained; None for a model that is only scored.
        steps: Optimiser steps of the whole training, for the schedule.
    """

    def __init__(self, network: nn.Module, optimizer: OptimizerConfig | None = None, steps: int = 0) -> None:
        super().__init__()
        self.network = network
        self._optimizer = optimizer
        self._steps = steps
        self.nats: list[Tensor] = []  # one (B,) tensor a scored batch

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Mean cross entropy in nats a token."""
        inputs, targets = batch
        logits = self.network(inputs)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)

    def test_step(self, batch: Batch, index: int) -> None:
        """Keep the summed negative log-likelihood in nats of each window of the batch."""
        inputs, targets = batch
        self.nats.append(window_nats(self.network(inputs), targets))

    def on_test_start(self) -> None:
        """Forget what an earlier pass left."""
        self.nats = []

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by global norm. Lightning refuses this for fused optimisers, also where no loss is scaled."""
        if gradient_clip_val is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay; weight decay for matrices only."""
        settings = self._optimizer
        assert settings is not None, "a module without optimiser settings is only scored"
        matrices = [p for p in self.network.parameters() if p.dim() >= 2]
        vectors = [p for p in self.network.parameters() if p.dim() < 2]
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        optimizer = torch.optim.AdamW(
            groups,
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            fused=not scaled,  # The fused kernel unscales gradients itself, and so cannot be clipped before.
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, self._steps, settings)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def window_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Summed negative log-likelihood (B,) of the targets that are not IGNORED, in float32.

    One window at a time: the float32 copy of all logits of a batch would be the largest tensor of the run.
    """
    sums = [
        F.cross_entropy(rows.float(), wanted, ignore_index=IGNORED, reduction="sum")
        for rows, wanted in zip(logits, targets, strict=True)
    ]
    return torch.stack(sums)


def learning_rate_factor(step: int, steps: int, settings: OptimizerConfig) -> float:
    """Fraction of the peak learning rate at a step: linear warm-up, then a cosine to `final_fraction`."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    progress = min(1.0, (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps))
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return settings.final_fraction + (1 - settings.final_fraction) * cosine
