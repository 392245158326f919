"""ONNX Runtime on a causal model of Hugging Face's format, exported from PyTorch with its cache as inputs and outputs.

Shapes are suffixes: B sequences, T positions, S positions with those before, K wanted positions, V vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from harness.backends.backend import cache_dir
from harness.config.fingerprint import content_hash
from harness.config.schema import Config
from harness.data.cache import atomic_path
from harness.data.corpus import TextSource
from harness.energy.meter import EnergyMeter
from harness.errors import Unsupported, UserError, first_line
from harness.load import implementation
from harness.models.compress import linear_instead_of_conv1d
from harness.models.generation import Generator, HuggingFaceGenerator
from harness.models.huggingface import with_provenance
from harness.models.loaded import LoadedModel

PRECISIONS = ("fp32", "int8-dynamic")
GRAPH = "model.onnx"


class OnnxRuntime:
    """ONNX Runtime, on the CPU."""

    def require_supported(self, config: Config) -> None:
        """As the interface says."""
        name = f"backend={config.backend.name}"
        if config.task.trains:
            raise Unsupported(f"{name}: it does not train", remedy="use backend=eager")
        if config.precision.name not in PRECISIONS:
            raise Unsupported(
                f"precision={config.precision.name}: {name} has none such on CPUs",
                remedy=f"use one of {', '.join(PRECISIONS)}",
            )
        if config.hardware.accelerator != "cpu":
            raise Unsupported(f"hardware={config.hardware.name}: {name} is for CPUs here", remedy="use hardware=cpu")

    def load(self, config: Config, source: TextSource) -> LoadedModel:
        """PyTorch's model in float32, from which the graph is made."""
        model: LoadedModel = implementation(config.model)(config.model, source, cache_dir(config), torch.float32)
        if not isinstance(model.network, HuggingFaceGenerator):
            raise Unsupported(
                f"backend={config.backend.name}: {config.model.label} is no causal model of Hugging Face's format",
                remedy="use model=smollm2-135m, gguf, local or hub",
            )
        return model

    def prepare(self, config: Config, model: LoadedModel, meter: EnergyMeter) -> LoadedModel:
        """The graph, exported once and kept in the cache, in a session of ONNX Runtime's."""
        assert isinstance(model.network, HuggingFaceGenerator), "loaded as one"
        with meter.window("compile"):
            if config.compression.kind != "none":
                linear_instead_of_conv1d(model.network)
            model = implementation(config.compression)(config.compression, model)
            folder = exported(model, config)
            original: Any = model.network.model
            network = OnnxGenerator(folder / GRAPH, original.config, torch.get_num_threads())
        return with_provenance(replace(model, network=network), backend=f"onnxruntime {onnxruntime.__version__}")


def exported(model: LoadedModel, config: Config) -> Path:
    """The folder of the model's graph in the cell's precision; made where the cache has none.

    Raises:
        UserError: If PyTorch cannot export the model.
    """
    # A random model is another each time that its seed is.
    known = {**model.provenance, "compression": config.compression.label, "trained": model.trained, "seed": config.seed}
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    name = f"{config.model.label.replace('/', '-')}-{content_hash({**known, **versions})[:16]}"
    plain = cache_dir(config) / "onnx" / f"{name}-fp32"
    if not plain.exists():
        assert isinstance(model.network, HuggingFaceGenerator)
        with atomic_path(plain) as temporary:
            temporary.mkdir()
            _export(model.network.model, temporary / GRAPH, config.model.label)
    if config.precision.quantisation is None:
        return plain
    quantised = plain.with_name(f"{name}-{config.precision.name}")
    if not quantised.exists():
        with atomic_path(quantised) as temporary:
            temporary.mkdir()
            _quantise(plain / GRAPH, temporary / GRAPH)
    return quantised


class WithPast(nn.Module):
    """A Hugging Face model with its cache as tensors, one pair after the other.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, ids_BT: Tensor, mask_BS: Tensor, positions_BT: Tensor, wanted_K: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        """Logits (B, K, V), then keys and values of every layer, each (B, H, S, D)."""
        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        output = self.model(
            input_ids=ids_BT,
            attention_mask=mask_BS,
            position_ids=positions_BT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=wanted_K,
        )
        kept = [tensor for layer in output.past_key_values.layers for tensor in (layer.keys, layer.values)]
        return (output.logits, *kept)


def _export(model: Any, path: Path, label: str) -> None:
    layers, heads, width = cache_shape(model.config)
    past = [torch.zeros(2, heads, 3, width) for _ in range(2 * layers)]
    example = (
        torch.ones(2, 4, dtype=torch.long),
        torch.ones(2, 7, dtype=torch.long),
        torch.arange(3, 7).repeat(2, 1),
        torch.arange(4),
        *past,
    )
    names = [f"{kind}_{layer}" for layer in range(layers) for kind in ("key", "value")]
    batch, tokens, total, earlier, wanted = (torch.export.Dim(name) for name in "BTSPK")
    shapes: Any = (
        {0: batch, 1: tokens},
        {0: batch, 1: total},
        {0: batch, 1: tokens},
        {0: wanted},
        tuple({0: batch, 2: earlier} for _ in past),
    )
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                WithPast(model).eval(),
                example,
                str(path),
                input_names=["ids", "mask", "positions", "wanted", *[f"past_{name}" for name in names]],
                output_names=["logits", *[f"present_{name}" for name in names]],
                dynamic_shapes=shapes,
                dynamo=True,
                external_data=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise UserError(
            f"backend=onnxruntime: PyTorch cannot export {label}: {first_line(error)}",
            remedy="use backend=eager",
        ) from error


def _quantise(source: Path, target: Path) -> None:
    """8-bit weights of the products of matrices but the output layer's; activations are quantised as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(str(source), load_external_data=False).graph
    products = [node for node in graph.node if node.op_type == "MatMul"]
    output = products[-1].name
    quantize_dynamic(
        str(source),
        str(target),
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        nodes_to_exclude=[output],
        use_external_data_format=True,
    )


def cache_shape(config: Any) -> tuple[int, int, int]:
    """Layers, heads of keys and values, and their width."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, heads, width


class OnnxGenerator(Generator):
    """An exported graph behind the interface of all generators.

    Args:
        path: The graph.
        config: Of the model that it was made from.
        threads: CPU threads.
    """

    def __init__(self, path: Path, config: Any, threads: int) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._layers, self._heads, self._width = cache_shape(config)
        self._pasts = [given.name for given in self._session.get_inputs()][4:]
        self._outputs = [made.name for made in self._session.get_outputs()]
        self._bytes = sum(file.stat().st_size for file in path.parent.iterdir())

    def weight_bytes(self) -> int:
        """As the base class says: the graph's files."""
        return self._bytes

    def streamed_bytes(self) -> int:
        """As the base class says. A graph reads all of its weights, where the embedding is the output layer too."""
        return self._bytes

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Token ids (B, T) to logits (B, T, V)."""
        B, T = ids_BT.shape
        positions = torch.arange(T).expand(B, T)
        logits, _ = self.run(ids_BT, torch.ones(B, T, dtype=torch.long), positions, range(T), self._empty(B))
        return logits

    def prefill(self, ids_BT: Tensor, padding_B: Tensor | None, capacity: int, fixed: bool) -> tuple[Tensor, OnnxCache]:
        """As the base class says."""
        B = len(ids_BT)
        padding = torch.zeros(B, dtype=torch.long) if padding_B is None else padding_B
        real_BS = (torch.arange(capacity) >= padding[:, None]).long()
        cache = OnnxCache(real_BS, self._empty(B))
        logits = self._next(ids_BT, cache)
        cache.keep_prompt()
        return logits, cache

    def step(self, tokens_B: Tensor, cache: OnnxCache) -> Tensor:
        """As the base class says."""
        return self._next(tokens_B[:, None], cache)

    def _next(self, ids_BT: Tensor, cache: OnnxCache) -> Tensor:
        T, total = ids_BT.shape[1], cache.length + ids_BT.shape[1]
        mask = cache.real_BS[:, :total]
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -T:]
        logits, cache.past = self.run(ids_BT, mask, positions, [T - 1], cache.past)
        cache.length = total
        return logits[:, -1]

    def run(
        self, ids: Tensor, mask: Tensor, positions: Tensor, wanted: Sequence[int], past: list[Any]
    ) -> tuple[Tensor, list[Any]]:
        """One pass of the graph; keys and values stay where ONNX Runtime made them."""
        given = {
            "ids": ids.numpy(),
            "mask": mask.contiguous().numpy(),
            "positions": positions.contiguous().numpy(),
            "wanted": np.array(list(wanted), dtype=np.int64),
        }
        feeds = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in given.items()}
        feeds |= dict(zip(self._pasts, past, strict=True))
        logits, *kept = self._session.run_with_ort_values(self._outputs, feeds)
        return torch.from_numpy(logits.numpy()), kept

    def _empty(self, sequences: int) -> list[Any]:
        nothing = np.zeros((sequences, self._heads, 0, self._width), dtype=np.float32)
        return [onnxruntime.OrtValue.ortvalue_from_numpy(nothing) for _ in self._pasts]


class OnnxCache:
    """Keys and values as ONNX Runtime returned them.

    Args:
        real_BS: 1 where a position is no padding (B, capacity).
        past: Keys and values of every layer.
    """

    def __init__(self, real_BS: Tensor, past: list[Any]) -> None:
        self.real_BS = real_BS
        self.past = past
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(int(np.prod(value.shape())) * 4 for value in self.past)

    @property
    def position_bytes(self) -> int:
        """Bytes of one position of one sequence."""
        return sum(int(np.prod(value.shape())) * 4 // (value.shape()[0] * value.shape()[2]) for value in self.past)

    def keep_prompt(self) -> None:
        """Note what the prompts left, to come back to it."""
        self._prompt = (self.past, self.length)

    def rewind(self) -> None:
        """Forget everything behind the prompts."""
        self.past, self.length = self._prompt
