"""`joulebench run`: one cell, in this process."""

from __future__ import annotations

import argparse
import shlex
import sys

from harness.commands.display import LiveProgress, print_config, print_generations, print_records
from harness.config.compose import compose_cell
from harness.errors import UserError
from harness.runner.folders import run_folder
from harness.runner.limits import heed_termination
from harness.runner.preflight import check_cells
from harness.sweep.claim import claimed, clear


def main(options: argparse.Namespace) -> int:
    """Run the cell that the overrides describe; 0 if it is ok, 1 if not."""
    cell = compose_cell(options.overrides)
    if options.cfg:
        print_config(cell.config)
        return 0
    check_cells([cell])

    from harness.runner.run import execute

    heed_termination()
    folder = run_folder(cell.config)
    with LiveProgress(cells=1) as progress, claimed(folder) as free:
        if not free:
            raise UserError(f"{folder}: another process runs this cell now", remedy="wait for it, or set study=...")
        clear(folder)
        progress.start_cell(cell.config)
        record = execute(cell, shlex.join(["joulebench", *sys.argv[1:]]), progress.report)
    print_records([record])
    print_generations(run_folder(cell.config))
    print(f"record: {run_folder(cell.config)}/record.json")
    return 0 if record.status == "ok" else 1
