"""torch.compile beside eager: joules a step of each, what compiling cost, and after how many steps it has paid.

Each cell is run through the runner, alternately and more than once; energy is obtained as `joulebench doctor` says.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import warnings
from tempfile import TemporaryDirectory
from typing import Any

from harness.config.compose import compose_cell
from harness.runner.run import execute

CELLS = (["model=gpt-nano", "batch_size=16"], ["model=gpt-mini", "batch_size=16"])


def measured(overrides: list[str], compiled: bool, folder: str) -> dict[str, Any]:
    """The summary of one run."""
    given = [f"task.compile={'true' if compiled else 'false'}", f"paths.results_dir={folder}"]
    record = execute(compose_cell(["task=train", *overrides, *given]), "bench.compilation", lambda *_: None)
    assert record.status == "ok", record.reason
    return record.summary


def main() -> None:
    """Print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="of training, each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("cells", nargs="*", help="overrides of one cell in quotes; the built-in list without any")
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    heads = ("eager J/step", "compiled J/step", "ratio", "compile J", "compile s", "break-even steps")
    print(f"{'cell':40}" + "".join(f"{head:>17}" for head in heads))
    for overrides in [cell.split() for cell in options.cells] or CELLS:
        timed = [
            *overrides,
            "task.steps=1000000",
            f"task.stop.seconds={options.seconds}",
            "task.scoring.max_bytes=2000",
        ]
        with TemporaryDirectory() as folder:
            pairs = [(measured(timed, False, folder), measured(timed, True, folder)) for _ in range(options.rounds)]
        eager, fast = (
            statistics.median(pair[number]["phases"]["train"]["joules_per_step"] for pair in pairs) for number in (0, 1)
        )
        cost = [pair[1]["all_windows"]["compile"] for pair in pairs]
        joules = statistics.median(window["total_energy_j"] for window in cost)
        seconds = statistics.median(window["duration_s"] for window in cost)
        steps = f"{joules / (eager - fast):.0f}" if fast < eager else "never"
        values = (f"{eager:.4f}", f"{fast:.4f}", f"{fast / eager:.3f}", f"{joules:.1f}", f"{seconds:.1f}", steps)
        print(f"{' '.join(overrides):40}" + "".join(f"{value:>17}" for value in values), flush=True)


if __name__ == "__main__":
    main()
