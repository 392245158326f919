"""Loggers of trainings, for those who watch: the record is never theirs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from harness.config.platform import LoggerConfig
from harness.errors import UserError
from harness.load import find


def open_logger(config: LoggerConfig, folder: Path, run_id: str) -> Logger | None:
    """The logger that is asked for, or None.

    Args:
        config: Which one, and its options.
        folder: Where one that writes files writes them.
        run_id: Name of the run, for one that has a service.

    Raises:
        UserError: If its package is missing, or it does not know an option.
    """
    if config.target is None:
        return None
    check_logger(config)
    of_run = {config.run_folder: str(folder), config.run_name: run_id}
    known: dict[str, Any] = {argument: value for argument, value in of_run.items() if argument is not None}
    try:
        logger: Logger = find(config.target)(**{**known, **config.options})
    except TypeError as error:
        raise UserError(f"logger.options: {error}", allowed=sorted(config.options)) from error
    return logger


def check_logger(config: LoggerConfig) -> None:
    """Check that the logger's package is installed.

    Raises:
        UserError: If not, with the command that installs it.
    """
    if config.requirement is not None and find_spec(config.requirement) is None:
        raise UserError(
            f"logger={config.name}: the package {config.requirement} is not installed",
            remedy=f"pip install {config.requirement}",
        )
