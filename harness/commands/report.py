"""`joulebench report`: tables and figures of a study, from what is on disk."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.config.compose import config_dir
from harness.report.collect import collect
from harness.report.figures import load_specs, write_figures
from harness.report.tables import write_tables
from harness.report.wording import energy_sentence
from harness.runner.folders import check_writable


def main(options: argparse.Namespace) -> int:
    """Write tables/ and figures/ of a study; 0 if every record could be read, 1 if not."""
    study = Path(options.results_dir) / options.study
    collected = collect(study)
    # By the name in the records: a copy of a study has its figures too.
    specs = load_specs(str(collected.runs["study"].iloc[0]), config_dir().parent / "experiments")
    check_writable(study)
    tables = write_tables(collected, study / "tables")
    figures = write_figures(collected, specs, study / "figures", options.venue)
    _print_summary(study, options.study, len(collected.runs), len(tables), [path.stem for path in figures])
    ok = collected.runs[collected.runs["status"] == "ok"]
    if not ok.empty:
        print(energy_sentence(ok, collected.records))
    for folder, reason in collected.left_out.items():
        print(f"left out: {folder}: {reason}", file=sys.stderr)
    return 1 if collected.left_out else 0


def _print_summary(folder: Path, study: str, runs: int, tables: int, figures: list[str]) -> None:
    print(f"study {study}: {runs} runs")
    print(f"tables:  {folder / 'tables'} ({tables} files; start with quality.md and energy.md)")
    print(f"figures: {folder / 'figures'} ({', '.join(figures) or 'none: no figure has two points'})")
