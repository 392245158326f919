"""Checks of a model option that need neither torch nor the model: made for every cell before any starts."""

from __future__ import annotations

from pathlib import Path

from harness.config.model import LocalGGUFConfig, LocalModelConfig, PackagedGGUFConfig
from harness.data.corpora import package_file
from harness.errors import UserError


def check_packaged(config: PackagedGGUFConfig) -> None:
    """Check that the package is installed.

    Raises:
        UserError: If not, with the command that installs it.
    """
    package_file(config.package, config.file, config.requirement)


def check_gguf(config: LocalGGUFConfig) -> None:
    """Check that the file is there, and is one.

    Raises:
        UserError: If not.
    """
    gguf_file(config.path)


def gguf_file(path: str) -> Path:
    """A GGUF file.

    Raises:
        UserError: If there is none.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"model.path={path}: no such file", remedy="check the path; it is relative to this folder")
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise UserError(f"model.path={path}: not a GGUF file")
    return file


def check_local(config: LocalModelConfig) -> None:
    """Check that the folder holds a model.

    Raises:
        UserError: If not.
    """
    model_folder(config.path, config.weights, config.allow_pickle)


def model_folder(path: str, weights: str = "pretrained", allow_pickle: bool = False) -> Path:
    """The folder of a model.

    Raises:
        UserError: If it does not exist, has no config.json, or no weights that may be read.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"model.path={path}: no such folder", remedy="check the path; it is relative to this folder")
    if not (folder / "config.json").is_file():
        raise UserError(f"model.path={path}: the folder has no config.json", remedy="write it with save_pretrained")
    if weights == "pretrained" and not weight_files(folder, allow_pickle):
        pickled = bool(weight_files(folder, allow_pickle=True))
        raise UserError(
            f"model.path={path}: the folder has no *.safetensors" + (", only pickled weights" if pickled else ""),
            remedy="write it with save_pretrained"
            + ("; or model.allow_pickle=true, if you trust whoever made it" if pickled else ""),
        )
    return folder


def weight_files(folder: Path, allow_pickle: bool) -> list[Path]:
    """The files of a model's weights: safetensors, or else pickles where they may be read."""
    return sorted(folder.glob("*.safetensors")) or (sorted(folder.glob("*.bin")) if allow_pickle else [])
