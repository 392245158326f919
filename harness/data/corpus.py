"""A corpus: cleaned documents, split so that no document stands in two splits."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Protocol

from harness.config.data import CleaningConfig, SplitConfig
from harness.data.leaks import without_leaks
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
    holds: ClassVar[str] = "a text without translations"

    def texts(self, split: str) -> Sequence[str]:
        """Every document of a split."""
        return self.splits[split]

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) over all documents of all splits, in order."""
        digest = hashlib.sha256()
        for split in SPLITS:
            digest.update(f"[{split}]".encode())
            for document in self.splits[split]:
                digest.update(document.encode() + b"\0")
        return digest.hexdigest()


class TextSource(Protocol):
    """What a data option loads: documents, or pairs of sentences."""

    @property
    def provenance(self) -> Mapping[str, str]:
        """Source, version and licence, for the record."""
        ...

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the content, in order."""
        ...

    @property
    def holds(self) -> str:
        """What it is, in words."""
        ...

    def texts(self, split: str) -> Sequence[str]:
        """Everything that stands in a split."""
        ...


def text_corpus(source: TextSource) -> Corpus:
    """The source as documents.

    Raises:
        UserError: If it holds pairs of sentences, or the examples of an application.
    """
    if not isinstance(source, Corpus):
        raise UserError(
            f"this model reads a text, and the data holds {source.holds} ({source.provenance['source']})",
            remedy="use data=chitchat or another text, or a model=transformer-*",
        )
    return source


def make_corpus(
    documents: Mapping[str, Iterable[str]], cleaning: CleaningConfig, provenance: Mapping[str, str]
) -> Corpus:
    """Clean the documents of each split; what was taken out is added to the provenance."""
    splits = {split: clean(documents[split]) for split in SPLITS}
    facts = dict(provenance)
    if cleaning.stop_words is not None:
        words = stop_words(cleaning.stop_words)
        splits = {split: clean(remove_words(text, words) for text in texts) for split, texts in splits.items()}
        facts["stop_words"] = f"{len(words)} words of {cleaning.stop_words} taken out: not the perplexity of plain text"
    if cleaning.near_duplicates:
        train = without_leaks(splits["train"], [*splits["validation"], *splits["test"]])
        facts["training_documents_removed_as_leaks"] = str(len(splits["train"]) - len(train))
        splits["train"] = train
    return Corpus({split: tuple(texts) for split, texts in splits.items()}, facts)


def stop_words(name: str) -> frozenset[str]:
    """The list `english`, or the words of a file, one a line, in lower case.

    Raises:
        UserError: If there is no such list or file.
    """
    if name == "english":
        text = files("harness.data").joinpath("stop_words_english.txt").read_text(encoding="utf-8")
    elif Path(name).expanduser().is_file():
        text = Path(name).expanduser().read_text(encoding="utf-8")
    else:
        raise UserError(f"data.cleaning.stop_words={name}: no such list", allowed=["english", "a file's path"])
    return frozenset(line.strip().casefold() for line in text.splitlines() if line.strip())


def remove_words(text: str, words: frozenset[str]) -> str:
    """A text without some words; line breaks stay, and other white space becomes single spaces."""
    lines = (
        [word for word in line.split() if word.casefold().strip(_PUNCTUATION) not in words]
        for line in text.splitlines()
    )
    return "\n".join(" ".join(line) for line in lines)


_PUNCTUATION = '.,;:!?"()[]'


def clean(documents: Iterable[str]) -> list[str]:
    """Unicode NFC, Unix line ends, no surrounding white space, no empty document, no exact duplicate."""
    normalised = (unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip() for text in documents)
    return list(dict.fromkeys(text for text in normalised if text))


def split_documents(documents: Iterable[str], config: SplitConfig) -> dict[str, list[str]]:
    """Assign each document to a split by a hash of its text without case and white space.

    The hash makes the split independent of the order of documents, and puts documents that differ only in case or
    white space into the same split, so that none is trained on and tested on.
    """
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for document in documents:
        splits[config.of(position(document, config.seed))].append(document)
    return splits


def position(document: str, seed: int) -> float:
    """A number in [0, 1) that depends on the letters of the document alone."""
    letters = re.sub(r"\s+", " ", unicodedata.normalize("NFC", document)).strip().casefold()
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
        removed = corpus.provenance.get("training_documents_removed_as_leaks", "0")
        raise UserError(
            f"the {split} split has no document (documents by split: {sizes}; {removed} nearly held a held-out one)",
            remedy="give more text, larger shares in data.split, or another data.split.seed",
        )
    return documents
