"""Causal and masked language models in Hugging Face's format: by hub id, or from a local folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from harness.config.model import HubModelConfig, LocalModelConfig
from harness.data.corpus import TextSource
from harness.data.tokenizers import TextTokenizer
from harness.errors import UserError
from harness.metrics.flops import TransformerShape
from harness.models.checks import model_folder
from harness.models.loaded import LoadedModel, count_parameters

transformers.utils.logging.disable_progress_bar()


@dataclass(frozen=True)
class Family:
    """What a model of the Hugging Face format learns.

    Attributes:
        loader: The library's class that reads it.
        options: Passed to its forward pass.
        objective: Ours.
        masked: Whether it has a mask token.
    """

    loader: Any
    options: Mapping[str, Any]
    objective: str
    masked: bool


FAMILIES = {
    "causal": Family(AutoModelForCausalLM, {"use_cache": False}, "harness.objectives.causal:CausalObjective", False),
    "masked": Family(AutoModelForMaskedLM, {}, "harness.objectives.masked:MaskedObjective", True),
}


class LogitsOf(nn.Module):
    """A Hugging Face model as a map from token ids to logits, without a key-value cache.

    Args:
        model: The model.
        options: Passed to its forward pass.
    """

    def __init__(self, model: Any, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self._options = dict(options)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Token ids (B, T) to logits (B, T, V)."""
        logits: Tensor = self.model(input_ids=ids_BT, **self._options).logits
        return logits


def load_hub(config: HubModelConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> LoadedModel:
    """A model of the hub at a revision; the commit behind it is recorded.

    Raises:
        UserError: If it cannot be had: no network, no such repository, or not such a model.
    """
    try:
        description = AutoConfig.from_pretrained(
            config.id, revision=config.revision, trust_remote_code=config.trust_remote_code
        )
        loaded = load_folder(config.id, dtype, config.trust_remote_code, FAMILIES[config.learns], config.revision)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model.id={config.id} (revision {config.revision}) could not be loaded: {str(error).splitlines()[0]}",
            remedy="check the id and the network; without a network use model=smollm2-135m, model=local or gpt-*",
        ) from error
    commit = getattr(description, "_commit_hash", None) or config.revision
    return with_provenance(
        loaded, source=f"hub model {config.id}", revision=commit, remote_code=str(config.trust_remote_code)
    )


def load_local(config: LocalModelConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> LoadedModel:
    """A model in a folder; the hash of its weights is recorded.

    Raises:
        UserError: If the folder is not there or holds no model.
    """
    folder = model_folder(config.path)
    try:
        loaded = load_folder(str(folder), dtype, config.trust_remote_code, FAMILIES[config.learns])
    except (OSError, ValueError) as error:
        raise UserError(f"model.path={config.path} could not be loaded: {str(error).splitlines()[0]}") from error
    digest = file_hash(sorted(folder.glob("*.safetensors")))
    return with_provenance(
        loaded, source=f"local folder {folder.name}", weights_sha256=digest, remote_code=str(config.trust_remote_code)
    )


def file_hash(paths: Sequence[Path]) -> str:
    """SHA-256 (hex) of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def load_folder(
    name: str, dtype: torch.dtype, remote_code: bool, family: Family, revision: str | None = None
) -> LoadedModel:
    """Weights in `dtype`, and the tokenizer, from a folder or a hub id; only safetensors are read.

    Raises:
        UserError: If a masked language model's tokenizer has no mask, or the tokenizer does not fit the model.
    """
    options: dict[str, Any] = {"trust_remote_code": remote_code}
    if revision is not None:
        options["revision"] = revision
    model = family.loader.from_pretrained(name, dtype=dtype, use_safetensors=True, **options)
    model.eval()
    given = AutoTokenizer.from_pretrained(name, **options)
    if family.masked and given.mask_token_id is None:
        raise UserError(f"{name}: its tokenizer has no mask token", remedy="use model.learns=causal")
    tokenizer = wrap_tokenizer(given, model.config.vocab_size, model.config.model_type)
    embeddings = _embedding_sizes(model)
    parameters = count_parameters(model)
    return LoadedModel(
        network=LogitsOf(model, family.options),
        tokenizer=tokenizer,
        context_length=int(getattr(model.config, "max_position_embeddings", 0) or 1024),
        shape=_shape(model, parameters, embeddings),
        num_parameters=parameters,
        num_parameters_non_embedding=parameters - sum(embeddings.values()),
        provenance={"tokenizer": tokenizer.name},
        objective=family.objective,
        mask_id=given.mask_token_id if family.masked else None,
    )


def wrap_tokenizer(tokenizer: Any, vocab_size: int, family: str) -> TextTokenizer:
    """A Hugging Face tokenizer behind our interface; documents are separated by BOS, EOS or SEP, the first that it has.

    Raises:
        UserError: If it has none of them, or more ids than the model has embeddings.
    """
    candidates = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.sep_token_id)
    separator = next((token for token in candidates if token is not None), None)
    if separator is None:
        raise UserError("the model's tokenizer has no BOS, EOS or SEP token to separate documents")
    if len(tokenizer) > vocab_size:
        raise UserError(f"the tokenizer has {len(tokenizer)} ids and the model's embedding only {vocab_size}")

    def encode(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(rows: Sequence[Sequence[int]]) -> list[str]:
        texts: list[str] = tokenizer.batch_decode([list(row) for row in rows], skip_special_tokens=True)
        return texts

    identity = hashlib.sha256(repr(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()
    return TextTokenizer(f"{family}-{len(tokenizer)}", identity, vocab_size, separator, encode, decode)


def _embedding_sizes(model: Any) -> dict[str, int]:
    """Parameters of the token embedding (`tokens`), of other embeddings (`positions`), of a separate output layer."""
    tokens = model.get_input_embeddings()
    others = [module for module in model.modules() if isinstance(module, nn.Embedding) and module is not tokens]
    return {
        "tokens": tokens.weight.numel(),
        "positions": sum(module.weight.numel() for module in others),
    }


def _shape(model: Any, parameters: int, embeddings: dict[str, int]) -> TransformerShape:
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    output = model.get_output_embeddings()
    tied = output is not None and output.weight is model.get_input_embeddings().weight
    unused = embeddings["positions"] + (0 if tied else embeddings["tokens"])
    return TransformerShape(config.num_hidden_layers, config.num_attention_heads, head_dim, parameters - unused)


def with_provenance(loaded: LoadedModel, **facts: str) -> LoadedModel:
    """The model with more facts in its provenance."""
    return replace(loaded, provenance={**loaded.provenance, **facts})
