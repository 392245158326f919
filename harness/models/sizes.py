"""How large a model is, from its option alone: no weights are loaded, and torch is not imported."""

from __future__ import annotations

import json
from functools import cache, singledispatch
from pathlib import Path
from typing import Any

from harness.config.model import (
    BertConfig,
    GPTConfig,
    LocalGGUFConfig,
    LocalModelConfig,
    PackagedGGUFConfig,
    TokenizerConfig,
    TranslatorConfig,
)
from harness.data.corpora import package_file


def vocabulary(tokenizer: TokenizerConfig) -> int | None:
    """Tokens of a tokenizer; None for a saved one, which is not opened."""
    known = {"byte": 257, "gpt2": 50257}
    found: int | None = known.get(tokenizer.kind, getattr(tokenizer, "vocab_size", None))
    return found


@singledispatch
def num_parameters(model: Any) -> int | None:
    """Parameters of a model, shared ones once; None where only loading it could tell."""
    return None


@num_parameters.register
def _gpt(model: GPTConfig) -> int | None:
    V, C, inner = vocabulary(model.tokenizer), model.n_embd, model.n_head * model.head_width
    biases = 3 * inner + C + 5 * C + 2 * C if model.bias else 0
    block = 4 * inner * C + 8 * C * C + 2 * C + biases
    last = 2 * C if model.bias else C
    return None if V is None else (V + model.context_length) * C + model.n_layer * block + last


@num_parameters.register
def _bert(model: BertConfig) -> int | None:
    V, C = vocabulary(model.tokenizer), model.n_embd
    if V is None:
        return None
    vocab = V + 1 if model.tokenizer.kind != "saved" else V  # and the mask
    embeddings = (vocab + model.context_length + 2 + 2) * C
    return embeddings + model.n_layer * (12 * C * C + 13 * C) + C * C + 3 * C + vocab


@num_parameters.register
def _translator(model: TranslatorConfig) -> int | None:
    V, C, inner = vocabulary(model.tokenizer), model.n_embd, model.n_inner
    feed = 2 * C * inner + inner + C
    layers = (4 * C * C + 4 * C + feed + 4 * C) + (8 * C * C + 8 * C + feed + 6 * C)
    return None if V is None else (V + 1) * C + model.n_layer * layers  # and the padding


@num_parameters.register
def _packaged(model: PackagedGGUFConfig) -> int | None:
    return _of_gguf(package_file(model.package, model.file, model.requirement))


@num_parameters.register
def _gguf(model: LocalGGUFConfig) -> int | None:
    return _of_gguf(Path(model.path).expanduser())


@num_parameters.register
def _local(model: LocalModelConfig) -> int | None:
    files = sorted(Path(model.path).expanduser().glob("*.safetensors"))
    return sum(map(_of_safetensors, files)) if files else None


@cache
def _of_gguf(path: Path) -> int:
    from gguf import GGUFReader

    return sum(int(tensor.n_elements) for tensor in GGUFReader(path).tensors)


@cache
def _of_safetensors(path: Path) -> int:
    """From the header: 8 bytes with its length, then JSON."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            count = 1
            for length in tensor["shape"]:
                count *= length
            total += count
    return total
