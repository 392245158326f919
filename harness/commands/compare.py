"""`joulebench compare`: two studies, or two runs, cell by cell."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.errors import UserError
from harness.record.environment import comparable, differences
from harness.record.record import FILE_NAME, record_in
from harness.sweep.compare import Finding, compare_runs, compare_studies, corrected


def main(options: argparse.Namespace) -> int:
    """Print what agrees and what differs; 0 if nothing differs, 1 if something does."""
    first, second = (find_folder(name, options.results_dir) for name in (options.first, options.second))
    if (first / FILE_NAME).is_file() != (second / FILE_NAME).is_file():
        raise UserError(f"{first} and {second}: a run and a study", remedy="give two runs, or two studies")
    alone: list[str] = []
    if (first / FILE_NAME).is_file():
        findings = corrected(compare_runs(first, second))
        print_environments(first, second)
    else:
        findings, alone = compare_studies(first, second)
    print_findings(findings)
    for line in alone:
        print(line)
    return int(any(finding.verdict == "differ" for finding in findings))


def find_folder(name: str, results_dir: str) -> Path:
    """A folder by its path, or below the results.

    Raises:
        UserError: If there is none.
    """
    given = Path(name).parent if Path(name).name == FILE_NAME else Path(name)
    for path in (given, Path(results_dir) / given):
        if path.is_dir():
            return path
    raise UserError(f"{name}: no such folder", remedy="give a run's or a study's folder")


def print_environments(first: Path, second: Path) -> None:
    """Every difference between the environments of two runs."""
    records = [record_in(folder) for folder in (first, second)]
    changed = differences(*(comparable(record["environment"]) for record in records))
    for key, (then, now) in sorted(changed.items()):
        print(f"environment: {key}: {then} -> {now}")
    commits = [record["environment"].get("git_commit") for record in records]
    if commits[0] != commits[1]:
        print(f"environment: commit: {commits[0]} -> {commits[1]}")


def print_findings(findings: Sequence[Finding]) -> None:
    """A table of what was compared, cell by cell, and a line that counts."""
    table = Table(box=None, pad_edge=False)
    for heading in ("cell", "figure", "first", "second", "ratio (95 %)", "verdict", "by"):
        table.add_column(heading, overflow="fold")
    last = ""
    for finding in findings:
        ratio = finding.ratio
        table.add_row(
            "" if finding.cell == last else finding.cell,
            finding.metric,
            "" if finding.first is None else f"{finding.first:.4g}",
            "" if finding.second is None else f"{finding.second:.4g}",
            "" if ratio is None else f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})",
            finding.verdict,
            finding.why,
        )
        last = finding.cell
    Console(width=None if Console().is_terminal else 200).print(table)
    verdicts = [finding.verdict for finding in findings]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ("agree", "differ", "cannot say"))
    print(f"{len(findings)} figures: {counts}")
