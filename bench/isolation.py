"""What a cell costs beside its work: a warm process of a sweep, a cold start of the program, and the waiting parent.

Outside is the time from the start of a cell to its record that is in no window of the meter: windows hold loading,
warm-up and what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.config.compose import compose_grid
from harness.record.record import Record
from harness.sweep.worker import Worker

CELL = ["model=gpt-nano", "tokenizer@model.tokenizer=byte", "energy=modelled", "task.scoring.max_bytes=2000",
        "protocol.window_s=0.2", "protocol.warmup_s=0.0"]  # fmt: skip


def outside(wall_s: float, record: dict[str, Any] | Record) -> float:
    """Seconds of a cell that are in no window."""
    summary = record.summary if isinstance(record, Record) else record["summary"]
    return wall_s - sum(phase["duration_s"] or 0.0 for phase in summary["all_windows"].values())


def warm(folder: Path, cells: int) -> list[float]:
    """Cells of one sweep, the first left out: it starts the server."""
    grid = compose_grid([*CELL, f"seed={','.join(map(str, range(cells + 1)))}", f"paths.results_dir={folder}"])
    worker, seconds = Worker(), []
    for cell in grid:
        started = time.perf_counter()
        record = worker.run(cell, "bench", lambda told: None)
        assert isinstance(record, Record)
        assert record.status == "ok", record.reason
        seconds.append(outside(time.perf_counter() - started, record))
    return seconds[1:]


def cold(folder: Path, cells: int) -> list[float]:
    """The command line, anew for each cell."""
    seconds = []
    for seed in range(cells):
        results = folder / f"cold-{seed}"
        command = [sys.executable, "-m", "harness", "run", *CELL, f"seed={seed}", f"paths.results_dir={results}"]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall = time.perf_counter() - started
        [path] = results.glob("*/*/record.json")
        seconds.append(outside(wall, json.loads(path.read_text())))
    return seconds


def waiting_share(folder: Path, seconds: float = 10.0) -> float:
    """CPU seconds a second that the parent uses while a cell of some seconds runs."""
    [cell] = compose_grid(
        [*CELL, f"protocol.window_s={seconds / 3}", "protocol.max_repeats=3", f"paths.results_dir={folder}/wait"]
    )
    worker = Worker()
    worker.run(compose_grid([*CELL, f"paths.results_dir={folder}/first"])[0], "bench", lambda told: None)
    before, started = os.times(), time.perf_counter()
    worker.run(cell, "bench", lambda told: None)
    after, wall = os.times(), time.perf_counter() - started
    return (after.user + after.system - before.user - before.system) / wall


def main() -> None:
    """Print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = {"warm process of a sweep": warm(folder, options.cells), "cold start of a run": cold(folder, 3)}
        print(f"{'seconds outside windows':28}{'median':>8}{'least':>8}{'most':>8}{'cells':>7}")
        for title, seconds in rows.items():
            print(f"{title:28}{statistics.median(seconds):8.2f}{min(seconds):8.2f}{max(seconds):8.2f}{len(seconds):7}")
        print(f"parent while it waits: {waiting_share(folder) * 100:.2f} % of a core")


if __name__ == "__main__":
    main()
