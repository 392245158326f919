"""`joulebench sweep`: every cell of a grid, each in a process of its own; finished cells are skipped."""

from __future__ import annotations

import argparse
import random
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from harness.commands.display import LiveProgress, print_config, print_records
from harness.config.compose import Cell, compose_grid
from harness.config.fingerprint import fingerprint, run_id
from harness.config.schema import Config
from harness.errors import UserError
from harness.record.record import Record, read_record
from harness.runner.isolate import Worker
from harness.runner.outcome import run_folder
from harness.runner.preflight import check_cells

# A cell with one of these is not run again: it is finished, or cannot run here.
DONE = ("ok", "unsupported")


def main(options: argparse.Namespace) -> int:
    """Run what is not done yet; 0 if no cell failed, 1 if one did."""
    cells = compose_grid(options.overrides)
    if options.cfg:
        for cell in cells:
            print(f"# {run_id(cell.config)}: {' '.join(cell.overrides)}")
        print_config(cells[0].config)
        return 0
    pending = in_order([cell for cell in cells if not is_done(cell)])
    check_cells(pending)
    print(f"{len(cells)} cells: {len(cells) - len(pending)} done, {len(pending)} to run", flush=True)
    records = run_all(pending, shlex.join(["joulebench", *sys.argv[1:]]))
    print_records(records)
    folder = Path(cells[0].config.paths.results_dir, cells[0].config.study)
    print(f"results: {folder}   tables and figures: joulebench report {cells[0].config.study}")
    return 0 if all(record.status in DONE for record in records) else 1


def in_order(cells: list[Cell]) -> list[Cell]:
    """As given, or shuffled by the seed where the protocol asks for it, so that drift does not follow an axis."""
    if cells and cells[0].config.protocol.shuffle_cells:
        random.Random(cells[0].config.seed).shuffle(cells)
    return cells


def is_done(cell: Cell) -> bool:
    """Whether the results hold a finished run of this cell.

    Raises:
        UserError: If its record cannot be read.
    """
    config = cell.config
    folder = run_folder(config)
    try:
        record = read_record(folder)
    except ValueError as error:
        raise UserError(f"{folder}: its record cannot be read: {error}", remedy="remove that folder") from error
    if record is None or record["status"] not in DONE or record.get("fingerprint") != fingerprint(config):
        return False
    return not changed_since(config, datetime.fromisoformat(record["started_at"]))


def changed_since(config: Config, moment: datetime) -> bool:
    """Whether a local text or model that a cell reads was written after a moment: its path is the same, not it."""
    paths = [Path(option.path).expanduser() for option in (config.data, config.model) if hasattr(option, "path")]
    files = [file for path in paths for file in (path.iterdir() if path.is_dir() else [path]) if file.is_file()]
    return any(file.stat().st_mtime > moment.timestamp() + 1 for file in files)


def run_all(cells: Sequence[Cell], command: str) -> list[Record]:
    """Run cells one after the other, each in a process of its own."""
    records: list[Record] = []
    with LiveProgress(len(cells)) as progress:
        worker = Worker()
        for cell in cells:
            progress.start_cell(cell.config)
            record = worker.run(cell, command, progress.report)
            progress.finish_cell(record.run_id, record.status, record.duration_s)
            records.append(record)
    return records
