"""`joulebench sweep`: every cell of a grid, each in a process of its own; finished cells are skipped."""

from __future__ import annotations

import argparse
import random
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.commands.display import LiveProgress, print_config, print_records
from harness.config.compose import Cell, compose_grid, launcher_of
from harness.config.fingerprint import run_id
from harness.config.schema import Config
from harness.errors import UserError
from harness.record.record import Record
from harness.runner.limits import heed_termination
from harness.runner.preflight import check_cells
from harness.sweep.cells import DONE, Found, environment_notes, look_up
from harness.sweep.claim import tidy
from harness.sweep.loop import run_cells


def main(options: argparse.Namespace) -> int:
    """Run what is not done yet; 0 if every cell has its answer, 1 if one failed."""
    cells = compose_grid(options.overrides)
    if options.cfg:
        for cell in cells:
            print(f"# {run_id(cell.config)}: {' '.join(cell.overrides)}")
        print_config(cells[0].config)
        return 0
    launcher = launcher_of(options.overrides)
    _check_order(cells[0].config, launcher)
    tidy(Path(cells[0].config.paths.results_dir, cells[0].config.study))
    found = look_up(cells, elsewhere=launcher != "basic")
    pending = in_order([one for one in found if one.state == "pending"])
    check_cells([one.cell for one in pending])
    print(headline(found), flush=True)
    heed_termination()
    command = shlex.join(["joulebench", *sys.argv[1:]])
    with LiveProgress(len(pending)) as progress:
        records = _run(pending, command, options.overrides, progress)
    print_records(records)
    left = [one for one in found if one.state == "left"]
    failed = [record for record in records if record.status not in DONE]
    print_summary(cells[0], len(left), failed, options.overrides)
    return 1 if failed or left else 0


def _check_order(config: Config, launcher: str) -> None:
    alone = config.time_limit_s is not None or config.isolation == "inline" or launcher != "basic"
    if config.order == "interleaved" and alone:
        raise UserError(
            "order=interleaved: cells wait for each other, each in a process of its own on this machine",
            remedy="leave out time_limit_s, isolation=inline and hydra/launcher",
        )


def _run(found: Sequence[Found], command: str, overrides: Sequence[str], progress: LiveProgress) -> list[Record]:
    """Here, one cell after the other, or through the launcher that the overrides choose."""
    if launcher_of(overrides) == "basic" or not found:
        return run_cells(found, command, progress)
    from harness.sweep.launch import launch_cells

    return launch_cells(found, command, overrides, progress)


def headline(found: Sequence[Found]) -> str:
    """How many cells there are, and what the user should know of those that are done."""
    states = [one.state for one in found]
    line = f"{len(found)} cells: {states.count('done')} done, {states.count('pending')} to run"
    if left := states.count("left"):
        line += f", {left} failed before and left (retry=none)"
    return "\n".join([line, *environment_notes(found)])


def in_order(found: list[Found]) -> list[Found]:
    """As given, or shuffled by the seed where that is asked for, so that drift does not follow an axis."""
    config = found[0].cell.config if found else None
    if config is not None and (config.order == "shuffled" or config.protocol.shuffle_cells):
        random.Random(config.seed).shuffle(found)
    return found


def print_summary(cell: Cell, left: int, failed: Sequence[Record], overrides: Sequence[str]) -> None:
    """Where the results are, and what runs the failed cells again."""
    study = cell.config.study
    if failed or left:
        kept = [override for override in overrides if not override.startswith("retry=")]
        print(
            f"\n{len(failed) + left} cells are not ok; to run them again: {shlex.join(['joulebench', 'sweep', *kept])}"
        )
    print(f"results: {Path(cell.config.paths.results_dir, study)}   tables and figures: joulebench report {study}")
