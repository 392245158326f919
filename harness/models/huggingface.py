"""Language and translation models in Hugging Face's format: by hub id, or from a local folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import ModelCard, try_to_load_from_cache
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

from harness.config.model import DecodingConfig, HubModelConfig, LocalModelConfig
from harness.data.corpus import TextSource
from harness.data.tokenizers import TextTokenizer
from harness.errors import UserError, first_line
from harness.metrics.flops import TransformerShape
from harness.models.checks import model_folder, weight_files
from harness.models.generation import HuggingFaceGenerator
from harness.models.loaded import LoadedModel, count_parameters
from harness.models.seq2seq import HuggingFaceEncoderDecoder, embedded_parameters, marks_of, shape_of_huggingface

transformers.utils.logging.disable_progress_bar()
# torchao, where it is installed, names every kernel that it has for other machines.
logging.getLogger("torchao").setLevel(logging.ERROR)


class LogitsOf(nn.Module):
    """A Hugging Face model as a map from token ids to logits.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Token ids (B, T) to logits (B, T, V)."""
        logits: Tensor = self.model(input_ids=ids_BT).logits
        return logits


def load_hub(config: HubModelConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> LoadedModel:
    """A model of the hub at a revision; the commit behind it is recorded.

    Raises:
        UserError: If it cannot be had: no network, no such repository, or not such a model.
    """
    try:
        loaded = load_family(config.id, config, dtype, config.revision)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model.id={config.id} (revision {config.revision}) could not be loaded: {first_line(error)}",
            remedy=_remedy(error)
            or "check the id and the network; without a network use model=smollm2-135m, model=local or gpt-*",
        ) from error
    found = try_to_load_from_cache(config.id, "config.json", revision=config.revision)
    assert isinstance(found, str), "it was just read from there"
    snapshot = Path(found).parent  # The hub's cache names it by its commit.
    facts = folder_facts(snapshot, loaded.trained, config.allow_pickle)
    return with_provenance(loaded, **facts, **_asked(config), source=f"hub model {config.id}", revision=snapshot.name)


def load_local(config: LocalModelConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> LoadedModel:
    """A model in a folder; the hash of its weights is recorded.

    Raises:
        UserError: If the folder is not there or holds no model.
    """
    folder = model_folder(config.path, config.weights, config.allow_pickle)
    try:
        loaded = load_family(str(folder), config, dtype)
    except (OSError, ValueError) as error:
        what = f"model.path={config.path} could not be loaded: {first_line(error)}"
        raise UserError(what, remedy=_remedy(error)) from error
    facts = folder_facts(folder, loaded.trained, config.allow_pickle)
    return with_provenance(loaded, **facts, **_asked(config), source=f"local folder {folder.name}")


def _remedy(error: Exception) -> str:
    """What to do where a model brings code of its own, which runs only when asked."""
    own_code = "trust_remote_code" in str(error)
    return "read its code first; model.trust_remote_code=true runs it" if own_code else ""


def folder_facts(folder: Path, trained: bool, allow_pickle: bool) -> dict[str, str]:
    """Hash and format of the weights in a folder, and the licence that its model card names."""
    facts = {"weights_sha256": "random weights"}
    if trained:
        files = weight_files(folder, allow_pickle)
        facts = {"weights_sha256": file_hash(files), "weights_format": ", ".join({file.suffix[1:] for file in files})}
    card = folder / "README.md"
    license_name = ModelCard.load(card, ignore_metadata_errors=True).data.license if card.is_file() else None
    return {**facts, "license": str(license_name)} if license_name else facts


def _asked(config: HubModelConfig | LocalModelConfig) -> dict[str, str]:
    """What was allowed."""
    return {"remote_code": str(config.trust_remote_code), "pickle_allowed": str(config.allow_pickle)}


def file_hash(paths: Sequence[Path]) -> str:
    """SHA-256 (hex) of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def load_family(
    name: str, config: HubModelConfig | LocalModelConfig, dtype: torch.dtype, revision: str | None = None
) -> LoadedModel:
    """The model of a folder or a hub id, as what its option says that it learns.

    Raises:
        UserError: If the tokenizer does not fit the model, or lacks a token that it needs.
    """
    translation = partial(translation_model, prefix=config.prefix, decoding=config.decoding)
    families: dict[str, tuple[Any, Callable[[Any, Any], LoadedModel]]] = {
        "causal": (AutoModelForCausalLM, causal_model),
        "masked": (AutoModelForMaskedLM, masked_model),
        "translation": (AutoModelForSeq2SeqLM, translation),
    }
    loader, described = families[config.learns]
    trained = config.weights == "pretrained"
    loaded = described(
        *read_model(loader, name, dtype, config.trust_remote_code, revision, trained, config.allow_pickle)
    )
    return replace(loaded, trained=trained)


def read_model(
    loader: Any,
    name: str,
    dtype: torch.dtype,
    remote_code: bool,
    revision: str | None = None,
    trained: bool = True,
    allow_pickle: bool = False,
) -> tuple[Any, Any]:
    """Weights in `dtype`, and the tokenizer: safetensors, or pickles if asked; nothing is read for random weights."""
    options: dict[str, Any] = {"trust_remote_code": remote_code}
    if revision is not None:
        options["revision"] = revision
    if trained:
        model = loader.from_pretrained(name, dtype=dtype, use_safetensors=None if allow_pickle else True, **options)
    else:
        model = loader.from_config(AutoConfig.from_pretrained(name, **options), dtype=dtype)
    model.eval()
    return model, AutoTokenizer.from_pretrained(name, **options)


def causal_model(model: Any, tokenizer: Any) -> LoadedModel:
    """A model of the next token."""
    wrapped = wrap_tokenizer(tokenizer, model)
    return LoadedModel(HuggingFaceGenerator(model), wrapped, shape=_shape(model), **_facts(model, wrapped))


def masked_model(model: Any, tokenizer: Any) -> LoadedModel:
    """A model of masked tokens.

    Raises:
        UserError: If its tokenizer has no mask.
    """
    if tokenizer.mask_token_id is None:
        raise UserError("the model's tokenizer has no mask token", remedy="use model.learns=causal")
    wrapped = wrap_tokenizer(tokenizer, model)
    return LoadedModel(
        LogitsOf(model),
        wrapped,
        shape=_shape(model),
        objective="harness.objectives.masked:MaskedObjective",
        mask_id=tokenizer.mask_token_id,
        **_facts(model, wrapped),
    )


def translation_model(model: Any, tokenizer: Any, prefix: str, decoding: DecodingConfig) -> LoadedModel:
    """A model from one sentence to another.

    Raises:
        UserError: If it does not say how sentences start and end, or is of an architecture that is not counted yet.
    """
    wrapped = wrap_tokenizer(tokenizer, model, prefix=prefix)
    facts = _facts(model, wrapped)
    return LoadedModel(
        HuggingFaceEncoderDecoder(model, marks_of(model, tokenizer), decoding, facts["context_length"]),
        wrapped,
        shape=shape_of_huggingface(model),
        objective="harness.objectives.translation:TranslationObjective",
        target_tokenizer=wrap_tokenizer(tokenizer, model, as_target=True),
        **facts,
    )


def _facts(model: Any, tokenizer: TextTokenizer) -> dict[str, Any]:
    """What is the same for all of them."""
    parameters = count_parameters(model)
    lengths = (getattr(model.config, name, None) for name in ("max_position_embeddings", "n_positions"))
    return {
        "context_length": int(next(filter(None, lengths), 1024)),
        "num_parameters": parameters,
        "num_parameters_non_embedding": parameters - sum(_embedding_sizes(model).values()),
        "provenance": {"tokenizer": tokenizer.name},
    }


def wrap_tokenizer(tokenizer: Any, model: Any, prefix: str = "", as_target: bool = False) -> TextTokenizer:
    """A Hugging Face tokenizer behind our interface; documents are separated by BOS, EOS or SEP, the first that it has.

    Args:
        tokenizer: The library's.
        model: The model that its ids go to.
        prefix: Put before every text.
        as_target: Whether its texts are targets of translations, which some tokenizers encode in another way.

    Raises:
        UserError: If it has none of them, or more ids than the model has embeddings.
    """
    candidates = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.sep_token_id)
    separator = next((token for token in candidates if token is not None), None)
    if separator is None:
        raise UserError("the model's tokenizer has no BOS, EOS or SEP token to separate documents")
    vocab_size, family = model.config.vocab_size, model.config.model_type
    if len(tokenizer) > vocab_size:
        raise UserError(f"the tokenizer has {len(tokenizer)} ids and the model's embedding only {vocab_size}")

    def encode(texts: Sequence[str]) -> list[list[int]]:
        given = {"text_target" if as_target else "text": [prefix + text for text in texts]}
        ids: list[list[int]] = tokenizer(**given, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(rows: Sequence[Sequence[int]]) -> list[str]:
        texts: list[str] = tokenizer.batch_decode([list(row) for row in rows], skip_special_tokens=True)
        return texts

    decides = (sorted(tokenizer.get_vocab().items()), prefix, as_target)
    identity = hashlib.sha256(repr(decides).encode()).hexdigest()

    def chat(message: str) -> list[int]:
        turn = [{"role": "user", "content": message}]
        ids: list[int] = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True)["input_ids"]
        return ids

    stops = getattr(getattr(model, "generation_config", None), "eos_token_id", None) or tokenizer.eos_token_id
    return TextTokenizer(
        f"{family}-{len(tokenizer)}",
        identity,
        vocab_size,
        separator,
        encode,
        decode,
        chat=chat if getattr(tokenizer, "chat_template", None) else None,
        start_ids=tuple(tokenizer("")["input_ids"]),
        stop_ids=(separator,) if stops is None else tuple(stops if isinstance(stops, list) else [stops]),
    )


def _embedding_sizes(model: Any) -> dict[str, int]:
    """Parameters of the token embedding (`tokens`), of other embeddings (`positions`), of a separate output layer."""
    tokens = model.get_input_embeddings().weight.numel()
    return {"tokens": tokens, "positions": embedded_parameters(model) - tokens}


def _shape(model: Any) -> TransformerShape:
    config, parameters, embeddings = model.config, count_parameters(model), _embedding_sizes(model)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    output = model.get_output_embeddings()
    tied = output is not None and output.weight is model.get_input_embeddings().weight
    unused = embeddings["positions"] + (0 if tied else embeddings["tokens"])
    outputs = 0 if output is None else output.weight.numel()
    return TransformerShape(
        config.num_hidden_layers, config.num_attention_heads, head_dim, parameters - unused, outputs
    )


def with_provenance(loaded: LoadedModel, **facts: str) -> LoadedModel:
    """The model with more facts in its provenance."""
    return replace(loaded, provenance={**loaded.provenance, **facts})
