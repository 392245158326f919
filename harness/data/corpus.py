"""A corpus: cleaned documents, split so that no document stands in two splits."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.config.data import SplitConfig
from harness.errors import UserError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Corpus:
    """Documents by split, and where they came from.

    Attributes:
        splits: Documents of `train`, `validation` and `test`.
        provenance: Source, version and licence, for the record.
    """

    splits: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, str]

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) over all documents of all splits, in order."""
        digest = hashlib.sha256()
        for split in SPLITS:
            digest.update(f"[{split}]".encode())
            for document in self.splits[split]:
                digest.update(document.encode() + b"\0")
        return digest.hexdigest()


def clean(documents: Iterable[str]) -> list[str]:
    """Unicode NFC, Unix line ends, no surrounding white space, no empty document, no exact duplicate."""
    normalised = (unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip() for text in documents)
    return list(dict.fromkeys(text for text in normalised if text))


def split_documents(documents: Sequence[str], config: SplitConfig) -> dict[str, tuple[str, ...]]:
    """Assign each document to a split by a hash of its text without case and white space.

    The hash makes the split independent of the order of documents, and puts documents that differ only in case or
    white space into the same split, so that none is trained on and tested on.
    """
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for document in documents:
        position = _position(document, config.seed)
        if position < config.test:
            splits["test"].append(document)
        elif position < config.test + config.validation:
            splits["validation"].append(document)
        else:
            splits["train"].append(document)
    return {split: tuple(texts) for split, texts in splits.items()}


def _position(document: str, seed: int) -> float:
    """A number in [0, 1) that depends on the letters of the document alone."""
    letters = re.sub(r"\s+", " ", document).strip().casefold()
    digest = hashlib.sha256(f"{seed}:{letters}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def take_bytes(documents: Sequence[str], max_bytes: int) -> list[str]:
    """The first documents, whole, until `max_bytes` UTF-8 bytes are reached."""
    taken: list[str] = []
    size = 0
    for document in documents:
        if size >= max_bytes:
            break
        taken.append(document)
        size += len(document.encode())
    return taken


def require_documents(corpus: Corpus, split: str) -> tuple[str, ...]:
    """The documents of a split.

    Raises:
        UserError: If the split is empty.
    """
    documents = corpus.splits[split]
    if not documents:
        sizes = {name: len(texts) for name, texts in corpus.splits.items()}
        raise UserError(
            f"the {split} split has no document (documents by split: {sizes})",
            remedy="give more text, larger shares in data.split, or another data.split.seed",
        )
    return documents
