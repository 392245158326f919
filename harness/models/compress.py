"""Smaller models from a loaded one: pruned weights, dropped blocks, quantised weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from harness.config.compression import DropLayersConfig, MagnitudePruningConfig, NoCompression, TwoOfFourConfig
from harness.config.platform import PrecisionConfig
from harness.errors import Unsupported, UserError
from harness.metrics.flops import TransformerShape
from harness.models.loaded import LoadedModel, count_parameters


def stored_bytes(network: nn.Module) -> int:
    """Bytes that a network's parameters take in memory, shared ones once, quantised ones as they are stored."""
    return sum(bytes_of(parameter) for parameter in network.parameters())


def bytes_of(tensor: Tensor) -> int:
    """Bytes that a tensor takes, a quantised one as it is stored."""
    if not is_traceable_wrapper_subclass(tensor):
        return int(tensor.nbytes)
    names, _ = tensor.__tensor_flatten__()
    return sum(bytes_of(getattr(tensor, name)) for name in names)


def inner_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """Linear layers but the output layer, by name: those that compression is about.

    The output layer has a row for each token of the vocabulary, and often is the token embedding too. Networks of this
    project have none: they multiply by the embedding.
    """
    outputs = {
        id(module.get_output_embeddings())
        for module in network.modules()
        if isinstance(module, PreTrainedModel) and module.get_output_embeddings() is not None
    }
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and id(module) not in outputs
    }


def linear_instead_of_conv1d(network: nn.Module) -> None:
    """GPT-2 of Hugging Face's has its weights transposed, in a layer that no library compresses; now in linear ones."""
    for name, module in list(network.named_modules()):
        if isinstance(module, Conv1D):
            inputs, outputs = module.weight.shape
            linear = nn.Linear(inputs, outputs, dtype=module.weight.dtype, device=module.weight.device)
            linear.weight = nn.Parameter(module.weight.data.t().contiguous())
            linear.bias = module.bias
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, linear)


def keep(config: NoCompression, model: LoadedModel) -> LoadedModel:
    """The model itself."""
    return model


def prune_by_magnitude(config: MagnitudePruningConfig, model: LoadedModel) -> LoadedModel:
    """The same network with the smallest weights of each inner layer set to zero."""
    for layer in _compressible(config.name, model).values():
        prune.l1_unstructured(layer, "weight", amount=config.sparsity)  # type: ignore[no-untyped-call]
        prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    return model


def prune_two_of_four(config: TwoOfFourConfig, model: LoadedModel) -> LoadedModel:
    """The same network with two of every four neighbouring weights set to zero.

    Raises:
        UserError: If a layer's width is no multiple of four.
    """
    for name, layer in _compressible(config.name, model).items():
        if layer.in_features % 4:
            raise UserError(f"compression=two-of-four: {name} has {layer.in_features} inputs, no multiple of four")
        groups = layer.weight.data.view(-1, 4)
        smallest = groups.abs().topk(2, dim=1, largest=False).indices
        groups.scatter_(1, smallest, 0.0)
    return model


def _compressible(name: str, model: LoadedModel) -> dict[str, nn.Linear]:
    layers = inner_layers(model.network)
    if not layers:
        raise UserError(f"compression={name}: the model has no linear layer")
    return layers


def drop_layers(config: DropLayersConfig, model: LoadedModel) -> LoadedModel:
    """The network without some of its blocks.

    Raises:
        UserError: If it has no stack of blocks, or too few.
    """
    stacks = [module for module in model.network.modules() if isinstance(module, nn.ModuleList)]
    if len(stacks) != 1 or not isinstance(model.shape, TransformerShape):
        raise UserError(
            f"compression={config.name}: a model of {len(stacks)} stacks of blocks; one is needed",
            remedy="use it with a language model",
        )
    blocks = stacks[0]
    dropped = blocks_to_drop(len(blocks), config)
    lost = sum(count_parameters(blocks[number]) for number in dropped)
    for number in sorted(dropped, reverse=True):
        del blocks[number]
    _renumber(model.network, list(blocks))
    return replace(
        model,
        shape=replace(model.shape, layers=len(blocks), matmul_parameters=model.shape.matmul_parameters - lost),
        num_parameters=model.num_parameters - lost,
        num_parameters_non_embedding=model.num_parameters_non_embedding - lost,
    )


def blocks_to_drop(count: int, config: DropLayersConfig) -> set[int]:
    """Numbers of the blocks that are left out.

    Raises:
        UserError: If less than two would be left.
    """
    if config.layers > count - 2:
        raise UserError(f"compression.layers={config.layers}: the model has {count} blocks, and two must be left")
    if config.which == "last":
        return set(range(count - 1 - config.layers, count - 1))
    step = count / (config.layers + 1)
    return {round(step * (number + 1)) for number in range(config.layers)}


def _renumber(network: nn.Module, blocks: list[Any]) -> None:
    """What counts blocks, and what finds a block's place in a cache."""
    for module in network.modules():
        for holder in (module, getattr(module, "config", None)):
            for name in ("num_hidden_layers", "n_layer"):
                if isinstance(getattr(holder, name, None), int) and hasattr(type(holder), "model_type"):
                    setattr(holder, name, len(blocks))
    for number, block in enumerate(blocks):
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = number


def quantise(network: nn.Module, precision: PrecisionConfig, device: torch.device) -> None:
    """Replace the weights of the inner layers by quantised ones, through torchao.

    Raises:
        UserError: If torchao is not installed.
        Unsupported: If this device or one of the layers cannot have them.
    """
    if precision.quantisation is None:
        return
    try:
        from torchao.quantization import quantize_
    except ImportError as error:
        raise UserError(
            f"precision={precision.name}: the package torchao is not installed",
            remedy="pip install 'joulebench[quantisation]'",
        ) from error
    layers = inner_layers(network)
    if not layers:
        raise Unsupported(f"precision={precision.name}: the model has no linear layer to quantise")
    chosen = set(map(id, layers.values()))
    with torch.no_grad():
        quantize_(network, _SCHEMES[precision.quantisation](precision, device), lambda layer, name: id(layer) in chosen)
    plain = [name for name, layer in layers.items() if not is_traceable_wrapper_subclass(layer.weight)]
    if plain:
        width = layers[plain[0]].in_features
        raise Unsupported(
            f"precision={precision.name}: {len(plain)} layers would silently stay as they are, such as {plain[0]} "
            f"({width} inputs, groups of {precision.group_size})",
            remedy="choose precision.group_size to divide the layers' widths",
        )


def _int8_weight_only(precision: PrecisionConfig, device: torch.device) -> Any:
    from torchao.quantization import Int8WeightOnlyConfig

    return Int8WeightOnlyConfig(set_inductor_config=False)


def _int8_dynamic(precision: PrecisionConfig, device: torch.device) -> Any:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    return Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)


def _int4_weight_only(precision: PrecisionConfig, device: torch.device) -> Any:
    if device.type == "cpu":
        from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig

        return PrototypeInt4WeightOnlyConfig(group_size=precision.group_size)
    from torchao.quantization import Int4WeightOnlyConfig

    return Int4WeightOnlyConfig(
        group_size=precision.group_size, int4_packing_format="tile_packed_to_4d", set_inductor_config=False
    )


def _float8_dynamic(precision: PrecisionConfig, device: torch.device) -> Any:
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow

    return Float8DynamicActivationFloat8WeightConfig(granularity=PerRow(), set_inductor_config=False)


_SCHEMES: dict[str, Callable[[PrecisionConfig, torch.device], Any]] = {
    "int8-weight-only": _int8_weight_only,
    "int8-dynamic": _int8_dynamic,
    "int4-weight-only": _int4_weight_only,
    "float8-dynamic": _float8_dynamic,
}
