"""What is done to a network before it is trained: freezing, low-rank adapters, recomputed activations, compilation."""

from __future__ import annotations

from fnmatch import fnmatch
from functools import partial
from importlib.util import find_spec

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from harness.config.task import LoraConfig
from harness.errors import UserError


def freeze(network: nn.Module, patterns: list[str]) -> None:
    """Take the parameters whose names match out of training.

    Raises:
        UserError: If a pattern matches none, or nothing is left to train.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise UserError(f"task.freeze: no parameter matches {pattern}", allowed=names[:20])
    for name, parameter in network.named_parameters():
        if any(fnmatch(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError(f"task.freeze={patterns}: no parameter is left to train")


def add_adapters(network: nn.Module, lora: LoraConfig) -> None:
    """Put a low-rank adapter beside every linear layer but the output layer; only adapters are trained.

    Raises:
        UserError: If peft is not installed.
    """
    if find_spec("peft") is None:
        raise UserError("task.lora.rank: the package peft is not installed", remedy="pip install 'joulebench[lora]'")
    import peft

    vocabulary = [module.num_embeddings for module in network.modules() if isinstance(module, nn.Embedding)]
    targets = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.out_features not in vocabulary
    ]
    settings = peft.LoraConfig(
        r=lora.rank or 0, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets
    )
    peft.inject_adapter_in_model(settings, network)


def merge_adapters(network: nn.Module) -> None:
    """Fold adapters into the layers that they stand beside, so that the network has its own shape again."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(network.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, module.get_base_layer())


def recompute_activations(network: nn.Module) -> None:
    """Keep only the inputs of each block for the backward pass, and compute the rest again there."""
    for module in network.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def trains_all(network: nn.Module) -> bool:
    """Whether every parameter is trained."""
    return all(parameter.requires_grad for parameter in network.parameters())


def compile_in_place(network: nn.Module) -> None:
    """Let torch.compile replace the network's forward pass; names of parameters stay."""
    network.compile()


def warm_compiled(network: nn.Module, inputs: tuple[torch.Tensor, ...], dtype: torch.dtype | None) -> None:
    """One forward and backward pass, so that compilation is over before training; gradients are dropped.

    Args:
        network: Compiled in place.
        inputs: What it is called with.
        dtype: Of autocast, or None without it.
    """
    device = next(network.parameters()).device
    network.train()
    with torch.random.fork_rng(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        network(*(tensor.to(device) for tensor in inputs)).float().mean().backward()
    network.zero_grad(set_to_none=True)
