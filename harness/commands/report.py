"""`joulebench report`: tables, figures and a page of one study or several, from what is on disk."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.config.compose import config_dir
from harness.errors import UserError, did_you_mean
from harness.record.record import record_folders
from harness.report.collect import Collected, collect, with_runs
from harness.report.external.read import read_external
from harness.report.figure_lists import load_specs, read_specs, restyled
from harness.report.figures import Drawn, remove_others, write_figures
from harness.report.findings import MARGIN
from harness.report.page import story_of, write_page
from harness.report.site import load_site, site_sentence, with_site
from harness.report.spec import FigureSpec
from harness.report.tables import metrics_named, write_tables
from harness.report.wording import energy_sentence
from harness.runner.folders import check_writable


def main(options: argparse.Namespace) -> int:
    """Write tables/, figures/ and report.html; 0 if every record could be read, 1 if not.

    Raises:
        UserError: If a study, figure, column, site or file to import is unknown.
    """
    results, experiments = Path(options.results_dir), config_dir().parent / "experiments"
    joined = "+".join(Path(name).name for name in options.study)
    folder = results / (options.to or (options.study[0] if len(options.study) == 1 else joined))
    columns = metrics_named(options.columns)
    beside = [read_external(each) for each in options.beside]
    collected = collect(*(results / name for name in options.study), beside=beside)
    collected, site = _at_site(collected, options.site)
    # By the name in the records: a copy of a study has its figures too.
    names = sorted(set(collected.runs["study"].iloc[: len(collected.records)]))
    own = names[0] if len(names) == 1 else ""
    specs = read_specs(Path(options.figures)) if options.figures else load_specs(own, experiments)
    if options.figure:
        specs = [restyled(_named(specs, options.figure), options.set)]
    elif options.set:
        raise UserError("--set without --figure", remedy="say which figure: --figure NAME --set key=value")
    own_runs = len(options.study) == 1 and folder == results / options.study[0]
    if not own_runs and any(record_folders(folder)):
        raise UserError(f"--to {folder}: holds runs of its own", remedy="give a name that no study has")
    check_writable(folder)
    drawn = write_figures(collected, specs, folder / "figures", options.venue, by_hand=bool(options.figure))
    if options.figure:
        return _one_figure(options.figure, drawn)
    remove_others(folder / "figures", drawn)
    tables = write_tables(collected, folder / "tables", columns)
    story = story_of(own or folder.name, experiments)
    margin = MARGIN if options.margin is None else options.margin
    page = write_page(folder / "report.html", folder.name, story, collected, drawn, site, margin)
    _print_summary(folder, collected, len(tables), specs, drawn, page)
    for name, reason in collected.left_out.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    return 1 if collected.left_out else 0


def _at_site(collected: Collected, name: str | None) -> tuple[Collected, str]:
    """With carbon and cost, and a sentence about their factors; as it is without a site."""
    if name is None:
        return collected, ""
    site = load_site(name)
    return with_runs(collected, with_site(collected.runs, site)), site_sentence(site)


def _named(specs: Sequence[FigureSpec], name: str) -> FigureSpec:
    known = [spec.name for spec in specs]
    if name not in known:
        raise UserError(f"--figure {name}: not in the study's list", allowed=known, remedy=did_you_mean(name, known))
    return specs[known.index(name)]


def _one_figure(name: str, drawn: Sequence[Drawn]) -> int:
    for each in drawn:
        print(each.path)
    if not drawn:
        print(f"{name}: the study has too few runs for it", file=sys.stderr)
    return 0 if drawn else 1


def _print_summary(
    folder: Path, collected: Collected, tables: int, specs: Sequence[FigureSpec], drawn: Sequence[Drawn], page: Path
) -> None:
    figures = ", ".join(each.path.stem for each in drawn)
    print(f"study {folder.name}: {len(collected.runs)} runs")
    print(f"tables:  {folder / 'tables'} ({tables} files; start with quality.md and energy.md)")
    print(f"figures: {folder / 'figures'} ({figures or 'none: no figure has two points'})")
    left_out = [spec.name for spec in specs if not any(each.path.stem.startswith(spec.name) for each in drawn)]
    if left_out:
        print(f"         not drawn, as too few runs have what they show: {', '.join(left_out)}")
    imported = len(collected.runs) - len(collected.records)
    if imported:
        print(f"         {imported} imported rows are in the figures whose columns they have")
    print(f"page:    {page}")
    if len(collected.ok):
        print(energy_sentence(collected.ok))
