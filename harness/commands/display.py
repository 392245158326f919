"""What the terminal shows: progress while cells run, and a table of what came out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.config.compose import resolved_config
from harness.config.fingerprint import run_id
from harness.config.schema import Config
from harness.record.record import Record


class LiveProgress:
    """Bars on a terminal; on anything else, one line a finished cell."""

    def __init__(self, cells: int) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._cells = cells
        self._done = 0
        self._study = self._bars.add_task("cells", total=cells, visible=cells > 1)
        self._phase = self._bars.add_task("", total=None)

    def __enter__(self) -> LiveProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start_cell(self, config: Config) -> None:
        """Show the cell that runs now."""
        self._name = run_id(config)
        self._bars.reset(self._phase, description=self._name, total=None)

    def report(self, phase: str, done: int, total: int | None) -> None:
        """Show how far the running cell has come in a phase."""
        self._bars.update(self._phase, description=f"{self._name} [bold]{phase}[/]", completed=done, total=total)

    def finish_cell(self, name: str, status: str, seconds: float) -> None:
        """Count a finished cell."""
        self._done += 1
        self._bars.advance(self._study)
        if not self._console.is_terminal:
            print(f"[{self._done}/{self._cells}] {status} {name} ({seconds:.0f} s)", flush=True)


def print_config(config: Config) -> None:
    """The resolved configuration as YAML."""
    print(yaml.safe_dump(resolved_config(config), sort_keys=False), end="")


def print_records(records: Sequence[Record]) -> None:
    """A table of runs, those that are not ok first, and the reasons below it."""
    if not records:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "status", "perplexity", "bits/byte", "J/token", "tokens/s", "energy"):
        table.add_column(heading, justify="left" if heading in ("run", "status", "energy") else "right", no_wrap=True)
    ordered = sorted(records, key=lambda record: record.status == "ok")
    for record in ordered:
        phase = record.summary.get("phases", {}).get(record.summary.get("main_phase"), {})
        table.add_row(
            record.run_id,
            record.status,
            _number(record.quality.get("perplexity"), ".2f"),
            _number(record.quality.get("bits_per_byte"), ".3f"),
            _number(phase.get("joules_per_token"), ".3g"),
            _number(phase.get("tokens_per_second"), ".0f"),
            str(phase.get("energy_method") or ""),
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    for record in ordered:
        if record.reason:
            print(f"\n{record.run_id}: {record.status}\n{record.reason}")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def print_generations(folder: Path, most: int = 3) -> None:
    """The first texts that a run generated, where it did."""
    path = folder / "generations.jsonl"
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines()[:most]:
        row = json.loads(line)
        Console(highlight=False, markup=False, soft_wrap=True).print(
            Text(row["prompt"], style="dim") + Text(row["output"])
        )
    print(f"texts: {path}")
