"""What can be known of every cell before any starts, without torch: so that a sweep does not die of a typing error."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.config.compose import Cell
from harness.load import preflight
from harness.runner.folders import check_writable


def check_cells(cells: Iterable[Cell]) -> None:
    """Check each task, model, text and results folder once.

    Raises:
        UserError: For the first that cannot work.
    """
    configs = [cell.config for cell in cells]
    for folder in {config.paths.results_dir for config in configs}:
        check_writable(Path(folder))
    checked = []
    for option in (option for config in configs for option in (config.task, config.model, config.data, config.logger)):
        if option not in checked:
            preflight(option)
            checked.append(option)
