"""Data sets of the Hugging Face hub as a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config.data import HubDataConfig
from harness.data.corpus import SPLITS, Corpus, make_corpus, split_documents
from harness.errors import UserError


def hub_dataset(config: HubDataConfig) -> Corpus:
    """A data set by its hub id; its own splits where it has all three, else its documents split here.

    Raises:
        UserError: If the hub cannot be reached, the data set does not exist, or it has no such column.
    """
    loaded, commit = load_dataset_by_id(config.id, config.subset, config.revision)
    texts = {str(name): _column(rows, config) for name, rows in loaded.items()}
    provenance = {"source": f"hub data set {config.id}", "revision": commit, "license": ""}
    return make_corpus(_splits(texts, config), config.cleaning, provenance)


def load_dataset_by_id(name: str, subset: str | None, revision: str) -> tuple[Any, str]:
    """A data set's splits by name, and the commit that they come from.

    Raises:
        UserError: If the hub cannot be reached, or the data set does not exist.
    """
    import datasets

    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(name, subset, revision=revision)
    except Exception as error:
        raise UserError(
            f"data.id={name} (revision {revision}) could not be loaded: {_first_line(error)}",
            remedy="check the id and the network; without a network use data=chitchat, python-stdlib, bible, file; "
            "bible-en-de or pair-files",
        ) from error
    return loaded, _commit(loaded) or revision


def _splits(texts: dict[str, list[str]], config: HubDataConfig) -> dict[str, list[str]]:
    if set(SPLITS) <= set(texts):
        return {name: texts[name] for name in SPLITS}
    return split_documents([text for rows in texts.values() for text in rows], config.split)


def _column(rows: Any, config: HubDataConfig) -> list[str]:
    if config.text_column not in rows.column_names:
        raise UserError(
            f"data.text_column={config.text_column}: {config.id} has no such column", allowed=rows.column_names
        )
    texts = (_text(value) for value in rows[config.text_column])
    return [text for text in texts if text is not None]


def _text(value: Any) -> str | None:
    """A text as it is; a conversation (turns, or messages with a `content`) with a turn a line; None for others."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return None
    turns = [turn.get("content") if isinstance(turn, Mapping) else turn for turn in value]
    return "\n".join(" ".join(turn.split()) for turn in turns if isinstance(turn, str)) or None


def _commit(loaded: Any) -> str:
    """The commit that was downloaded, from the data set's checksums, or an empty string."""
    for rows in loaded.values():
        for url in rows.info.download_checksums or {}:
            _, _, rest = str(url).partition("@")
            if rest:
                return rest.split("/")[0]
    return ""


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
