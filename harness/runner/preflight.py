"""What can be known of every cell before any starts, without torch: so that a sweep does not die of a typing error."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.config.compose import Cell
from harness.load import preflight
from harness.runner.folders import check_writable

CHECKED = ("task", "model", "backend", "data", "logger")


def check_cells(cells: Iterable[Cell]) -> None:
    """Check each task, model, text and results folder once.

    Raises:
        UserError: For the first that cannot work.
    """
    configs = [cell.config for cell in cells]
    for folder in {config.paths.results_dir for config in configs}:
        check_writable(Path(folder))
    checked = []
    for option in (getattr(config, group) for config in configs for group in CHECKED):
        if option not in checked:
            preflight(option)
            checked.append(option)
