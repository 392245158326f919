"""Optimisers, and learning rates over a training."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from harness.config.task import OptimizerConfig

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def build_optimizer(network: nn.Module, settings: OptimizerConfig, scaled: bool) -> torch.optim.Optimizer:
    """The optimiser over the parameters that are trained, with weight decay for matrices only.

    Args:
        network: The model.
        settings: The task's options.
        scaled: Whether the loss is scaled (float16): the fused kernel unscales gradients itself, and so cannot be
            clipped before.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in trained if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[settings.name](  # type: ignore[call-arg]
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=not scaled,
    )


def learning_rate_factor(step: int, steps: int, settings: OptimizerConfig) -> float:
    """Fraction of the peak learning rate at a step: linear warm-up, then the schedule over the steps that remain."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    return _SCHEDULES[settings.schedule](step, steps, settings)


def _progress(step: int, steps: int, settings: OptimizerConfig) -> float:
    """0 at the end of the warm-up, 1 at the last step."""
    return min(1.0, (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps))


def _cosine(step: int, steps: int, settings: OptimizerConfig) -> float:
    cosine = (1 + math.cos(math.pi * _progress(step, steps, settings))) / 2
    return settings.final_fraction + (1 - settings.final_fraction) * cosine


def _linear(step: int, steps: int, settings: OptimizerConfig) -> float:
    return 1 - (1 - settings.final_fraction) * _progress(step, steps, settings)


def _inverse_sqrt(step: int, steps: int, settings: OptimizerConfig) -> float:
    return math.sqrt(max(1, settings.warmup_steps) / (step + 1))


def _constant(step: int, steps: int, settings: OptimizerConfig) -> float:
    return 1.0


_SCHEDULES: dict[str, Callable[[int, int, OptimizerConfig], float]] = {
    "cosine": _cosine,
    "linear": _linear,
    "inverse_sqrt": _inverse_sqrt,
    "constant": _constant,
}
