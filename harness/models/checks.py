"""Checks of a model option that need neither torch nor the model: made for every cell before any starts."""

from __future__ import annotations

from pathlib import Path

from harness.config.model import LocalModelConfig, PackagedGGUFConfig
from harness.data.corpora import package_file
from harness.errors import UserError


def check_packaged(config: PackagedGGUFConfig) -> None:
    """Check that the package is installed.

    Raises:
        UserError: If not, with the command that installs it.
    """
    package_file(config.package, config.file, config.requirement)


def check_local(config: LocalModelConfig) -> None:
    """Check that the folder holds a model.

    Raises:
        UserError: If not.
    """
    model_folder(config.path, config.weights)


def model_folder(path: str, weights: str = "pretrained") -> Path:
    """The folder of a model.

    Raises:
        UserError: If it does not exist or has no config.json or no safetensors.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"model.path={path}: no such folder", remedy="check the path; it is relative to this folder")
    for pattern in ("config.json", "*.safetensors") if weights == "pretrained" else ("config.json",):
        if not list(folder.glob(pattern)):
            raise UserError(
                f"model.path={path}: the folder has no {pattern}",
                remedy="write it with save_pretrained; pickled weights are not read",
            )
    return folder
