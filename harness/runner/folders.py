"""A run's folder and its log."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.config.fingerprint import run_id
from harness.config.schema import Config
from harness.errors import UserError

# Loggers of libraries whose warnings belong into run.log and not onto the terminal.
_LIBRARIES = ("pytorch_lightning", "lightning", "transformers", "zeus", "torch", "py.warnings")


def run_folder(config: Config) -> Path:
    """Where a cell's run lands."""
    return Path(config.paths.results_dir) / config.study / run_id(config)


# How often another process may take a folder away in between.
MOST_TRIES = 1000


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and its parents; returns those that were made, outermost first.

    Raises:
        UserError: If the folder cannot be written.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for _ in range(MOST_TRIES):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            if folder.is_file():
                raise _not_writable(folder, error) from error
            continue  # Another process made it, and removed it while it was empty.
        except FileNotFoundError:
            continue  # So was its parent.
        except OSError as error:
            raise _not_writable(folder, error) from error
        if os.access(folder, os.W_OK):
            return missing[::-1]
    raise _not_writable(folder, PermissionError("not writable"))


def check_writable(folder: Path) -> None:
    """Check that a folder could be made and written, without making it.

    Raises:
        UserError: If not.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise _not_writable(folder, NotADirectoryError(f"{nearest} is a file"))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _not_writable(folder, PermissionError(f"no permission to write in {nearest}"))


def _not_writable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"paths.results_dir: {folder} cannot be written: {error.strerror or error}",
        remedy="set paths.results_dir=... or JOULEBENCH_RESULTS to a folder that you may write",
    )


def remove_folders(made: Sequence[Path]) -> None:
    """Take back what `make_folder` made: the innermost with its files, the others if they are empty."""
    if made:
        shutil.rmtree(made[-1], ignore_errors=True)
    remove_empty(made[:-1])


def remove_empty(made: Sequence[Path]) -> None:
    """Take back folders that were made, outermost first in the list, if they are empty."""
    for path in reversed(made):
        with suppress(OSError):  # It is not empty, or another process has taken it away.
            path.rmdir()


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Send our log, the libraries' logs and Python's warnings to a file, and nothing to the terminal."""
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("harness", *_LIBRARIES)]
    before = [(logger, logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if logger.name == "harness" else logging.WARNING)
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        logging.captureWarnings(False)
        for logger, level, propagate, handlers in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        handler.close()
