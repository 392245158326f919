"""The Lightning module of every objective: cross entropy in training, summed log-likelihood in scoring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.nn import functional as F

from harness.config.task import OptimizerConfig
from harness.data.tokens import IGNORED
from harness.runner.batches import Batch
from harness.runner.optimizer import build_optimizer, learning_rate_factor

Loss = Callable[[Tensor, Batch], Tensor]
"""Logits (B, T, V) and the batch that they come from, to a scalar in nats a target."""


class LanguageModule(pl.LightningModule):
    """A network that maps token ids to logits (B, T, V).

    Args:
        network: The model.
        optimizer: How it is trained; None for a model that is only scored.
        steps: Optimiser steps of the whole training, for the schedule.
        loss: What is trained; cross entropy by default.
        shard: Leaves each of several devices its share of the network; None where each holds all of it.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerConfig | None = None,
        steps: int = 0,
        loss: Loss | None = None,
        shard: Callable[[nn.Module, Any], None] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self._optimizer = optimizer
        self._steps = steps
        self._loss = loss or cross_entropy
        self._shard, self._shared = shard, False
        self.whole: dict[str, Any] = {}  # the trained weights, where the network holds a share of them
        self.losses: list[Tensor] = []  # one scalar a trained micro-batch
        self.nats: list[Tensor] = []  # one (B,) tensor a scored batch
        self.token_nats: list[Tensor] = []  # one (B, T) tensor a scored batch

    def __setattr__(self, name: str, value: Any) -> None:
        """Lightning notes each hook's name here, dozens of times a step; nn.Module would look for a parameter in it."""
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss, which is kept for the record."""
        inputs, targets = batch
        loss = self._loss(self.network(*inputs), batch)
        if self.trainer.world_size > 1:
            loss = loss * self._share(targets)
        self.losses.append(loss.detach())
        if self.trainer.loggers:
            self.log("training/loss", loss)
        return loss

    def _share(self, targets: Tensor) -> Tensor:
        """This process's targets over the mean of all processes: the mean of losses is then that over all targets."""
        own = (targets != IGNORED).sum().float()
        mean: Tensor = self.trainer.strategy.reduce(own.clone(), reduce_op="mean")
        return own / mean

    def test_step(self, batch: Batch, index: int) -> None:
        """Keep the negative log-likelihood in nats of each target of the batch, and its sum in each window."""
        inputs, targets = batch
        self.token_nats.append(token_nats(self.network(*inputs), targets))
        self.nats.append(self.token_nats[-1].sum(dim=1))

    def on_test_start(self) -> None:
        """Forget what an earlier pass left."""
        self.nats, self.token_nats = [], []

    validation_step = test_step
    on_validation_start = on_test_start

    def configure_model(self) -> None:
        """Share the network, once."""
        if self._shard is not None:
            assert self.device_mesh is not None, "the strategy makes it before"
            self._shard(self.network, self.device_mesh["data_parallel"])
            self._shard, self._shared = None, True

    def on_train_end(self) -> None:
        """Where several processes train, their mean is the loss of a batch; shares are put together again."""
        self.losses = self.mean_losses()
        if self._shared:
            options = StateDictOptions(full_state_dict=True, cpu_offload=True)
            self.whole = get_model_state_dict(self.network, options=options)

    def mean_losses(self) -> list[Tensor]:
        """The loss of each micro-batch so far, over all processes that train."""
        if self.trainer.world_size == 1 or not self.losses:
            return self.losses
        return list(self.trainer.strategy.reduce(torch.stack(self.losses), reduce_op="mean"))

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by global norm. Lightning refuses this for fused optimisers, also where no loss is scaled."""
        if gradient_clip_val is not None:
            trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(trained, gradient_clip_val)

    def configure_optimizers(self) -> Any:
        """The optimiser and its schedule."""
        settings = self._optimizer
        assert settings is not None, "a module without optimiser settings is only scored"
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        optimizer = build_optimizer(self.network, settings, scaled)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, self._steps, settings)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def cross_entropy(logits: Tensor, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy in nats a target that is not IGNORED."""
    _, targets = batch
    return F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, label_smoothing=label_smoothing
    )


def token_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood (B, T) of each target, 0 where it is IGNORED, in float32.

    One window at a time: the float32 copy of all logits of a batch would be the largest tensor of the run.
    """
    costs = [
        F.cross_entropy(rows.float(), wanted, ignore_index=IGNORED, reduction="none")
        for rows, wanted in zip(logits, targets, strict=True)
    ]
    return torch.stack(costs)
