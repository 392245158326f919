"""What the terminal shows: progress while cells run, and a table of what came out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.config.compose import resolved_config
from harness.config.fingerprint import run_id
from harness.config.schema import Config
from harness.data.files import lines_of
from harness.record.record import Record
from harness.runner.progress import Report


class LiveProgress:
    """A table on a terminal, redrawn once a second at most; on anything else, one line a finished cell.

    Args:
        cells: How many there are to run.
    """

    def __init__(self, cells: int) -> None:
        self._console = Console(stderr=True)
        self._live = (
            Live(console=self._console, auto_refresh=False, transient=True) if self._console.is_terminal else None
        )
        self._cells = cells
        self._durations: list[float] = []
        self._problems = 0
        self._energy = Spent()
        self._name, self._began, self._drawn = "", time.monotonic(), 0.0
        self._told: Report | None = None

    def __enter__(self) -> LiveProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def start_cell(self, config: Config) -> None:
        """Show the cell that runs now."""
        self._name, self._told, self._began = run_id(config), None, time.monotonic()
        self._draw(at_once=True)

    def report(self, told: Report) -> None:
        """Show how far the running cell has come."""
        self._told = told
        self._draw()

    def finish_cell(self, record: Record, note: str = "") -> None:
        """Count a finished cell."""
        self._durations.append(record.duration_s)
        self._problems += record.status not in ("ok", "unsupported")
        spent = record.summary.get("run", {})
        self._energy.add(spent)
        if self._live is None:
            details = ", ".join(filter(None, (f"{record.duration_s:.0f} s", joules(spent), note)))
            count = f"[{len(self._durations)}/{self._cells}] " if self._cells > 1 else ""
            print(f"{count}{record.status} {record.run_id} ({details})", flush=True)
        self._draw(at_once=True)

    def postpone_cell(self, config: Config) -> None:
        """Another sweep runs it; it is looked at again at the end."""
        if self._live is None:
            print(f"another sweep runs {run_id(config)}: left to it for now", flush=True)

    def _draw(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._live is not None and (at_once or now - self._drawn >= 1.0):
            self._drawn = now
            self._live.update(Group(self._headline(now), self._row(now)), refresh=True)

    def _headline(self, now: float) -> Text:
        done, parts = len(self._durations), []
        if self._cells > 1:
            parts.append(f"{done}/{self._cells} cells")
        if self._problems:
            parts.append(f"{self._problems} not ok")
        if done and done < self._cells:
            left = sum(self._durations) / done * (self._cells - done) - (now - self._began)
            parts.append(f"about {duration(max(0.0, left))} left")
        if self._energy.text:
            parts.append(f"{self._energy.text} so far")
        return Text(" \u00b7 ".join(parts), style="bold")

    def _row(self, now: float) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("cell", "phase", "done", "rate", "energy", "time"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        told = self._told
        cells = (
            (self._name, "starting", "", "", "")
            if told is None
            else (
                self._name,
                told.phase,
                f"{told.done}/{told.total}" if told.total else str(told.done),
                "" if told.tokens_per_second is None else f"{told.tokens_per_second:.0f} tokens/s",
                joules(told.spent),
            )
        )
        table.add_row(*cells, duration(now - self._began))
        return table


class Spent:
    """Joules of several runs, unless one of them has none."""

    def __init__(self) -> None:
        self._joules: float | None = 0.0
        self._methods: set[str] = set()

    def add(self, spent: Mapping[str, Any]) -> None:
        """Add those of a run."""
        value = spent.get("total_energy_j")
        self._joules = None if value is None or self._joules is None else self._joules + value
        self._methods.add(str(spent.get("energy_method", "unavailable")))

    @property
    def text(self) -> str:
        """The sum with its methods; empty where it is not known, or nothing was added."""
        if not self._methods or self._joules is None:
            return ""
        return joules({"total_energy_j": self._joules, "energy_method": "+".join(sorted(self._methods))})


def joules(spent: Mapping[str, Any]) -> str:
    """Energy of a run and how it was obtained; empty where there is none."""
    value = spent.get("total_energy_j")
    if value is None:
        return ""
    number = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{number} J {str(spent.get('energy_method', '')).replace('_', ' ')}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
    random = [record.run_id for record in ordered if record.model.get("trained") is False]
    if random:
        print(f"\nrandom weights, so that quality and texts mean nothing: {', '.join(random)}")
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
    for line in lines_of(path.read_text(encoding="utf-8"))[:most]:
        row = json.loads(line)
        Console(highlight=False, markup=False, soft_wrap=True).print(
            Text(row["prompt"], style="dim") + Text(row["output"])
        )
    print(f"texts: {path}")
