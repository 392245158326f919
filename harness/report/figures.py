"""Figures from a declarative list: each says what it plots, and is left out where a study cannot fill it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib.style
import pandas as pd
import yaml
from matplotlib.figure import Figure

from harness.data.cache import atomic_path
from harness.errors import UserError
from harness.metrics.registry import BY_NAME
from harness.report.collect import Collected
from harness.report.draw import DRAW, Curves, fit_of, series, shows_energy
from harness.report.spec import FigureSpec
from harness.report.wording import energy_sentence, protocol_sentence

# Full text width, or a column where the venue has two, in inches.
VENUES = {"neurips": 5.5, "iclr": 5.5, "icml": 6.75, "icml-column": 3.25, "acl": 6.3, "acl-column": 3.03,
          "ieee": 7.16, "ieee-column": 3.5}  # fmt: skip
# Characters of a label that stand beside an axis; longer ones have their unit in a second line.
LABEL = 32
ERROR_BARS = "Error bars: 95 % of random error (Student's t over repeats, and the counters' updates)."
BOOTSTRAP_BARS = "Vertical bars: 95 % bootstrap over the scored text."


def load_specs(study: str, experiments: Path) -> list[FigureSpec]:
    """The study's own figure list, or the default one; that of a study's variant for a GPU is the study's.

    Raises:
        UserError: If the list has an unknown key, kind or column.
    """
    own = experiments / study.removesuffix("-gpu") / "figures.yaml"
    default = files("harness.report").joinpath("default_figures.yaml")
    text = own.read_text(encoding="utf-8") if own.is_file() else default.read_text(encoding="utf-8")
    return [_spec(entry, str(own)) for entry in yaml.safe_load(text)]


def _spec(entry: dict[str, Any], where: str) -> FigureSpec:
    try:
        spec = FigureSpec(**{**entry, "series": tuple(entry["series"])})
    except (TypeError, KeyError) as error:
        known = list(FigureSpec.__dataclass_fields__)
        raise UserError(f"{where}: figure {entry.get('name')}: {error}", allowed=known) from error
    interval = [f"{spec.y}_ci_{end}" for end in ("low", "high")] if spec.y_interval else []
    columns = [spec.x, spec.y, spec.x_error, spec.y_error, *interval, spec.each, *spec.series, *spec.where]
    unknown = [column for column in columns if column is not None and column not in BY_NAME]
    if unknown or spec.kind not in DRAW:
        raise UserError(f"{where}: figure {spec.name}: unknown {unknown or spec.kind}", allowed=[*BY_NAME, *DRAW])
    return spec


def write_figures(collected: Collected, specs: Sequence[FigureSpec], folder: Path, venue: str) -> list[Path]:
    """Draw what can be drawn, as PDF and PNG, each with its caption and run ids; returns the PDFs.

    Raises:
        UserError: If the venue is unknown.
    """
    if venue not in VENUES:
        raise UserError(f"--venue {venue}: unknown", allowed=VENUES)
    drawn: list[Path] = []
    for spec in specs:
        for name, runs in _panels(spec, collected.runs, collected.curves):
            if enough(spec, runs):
                drawn.append(_write(name, spec, runs, collected, folder, VENUES[venue]))
    return drawn


def _panels(spec: FigureSpec, runs: pd.DataFrame, curves: Curves) -> Iterator[tuple[str, pd.DataFrame]]:
    """The runs of each figure that a spec stands for."""
    chosen = runs[runs["status"] == "ok"]
    for column, value in spec.where.items():
        chosen = chosen[chosen[column] == value]
    shown = chosen["run_id"].isin(curves) if spec.kind == "curves" else chosen[[spec.x, spec.y]].notna().all(axis=1)
    chosen = chosen[shown]
    if spec.each is None:
        yield spec.name, chosen
        return
    for value, group in chosen.groupby(spec.each):
        yield f"{spec.name}_{value!s}", group


def enough(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    """Whether a figure would show anything: two points for a front, two values of x for a line, a curve."""
    if spec.kind == "curves":
        return not runs.empty
    return len(runs) >= 2 and (spec.kind == "pareto" or runs[spec.x].nunique() >= 2)


def draw(
    spec: FigureSpec, runs: pd.DataFrame, note: str, width_in: float, curves: Mapping[str, pd.DataFrame]
) -> Figure:
    """One figure from a data frame with the columns of runs.csv.

    Args:
        spec: What to plot.
        runs: The runs to show.
        note: Sentence below the axes: where energy came from, what the error bars are.
        width_in: Width in inches.
        curves: Quality curve by run id.
    """
    figure = Figure(figsize=(width_in, max(2.6, width_in * 0.56)), layout="constrained")
    axes = figure.add_subplot()
    DRAW[spec.kind](axes, spec, runs, curves)
    axes.set_xlabel(BY_NAME[spec.x].axis)
    label = f"{'Validation: ' if spec.kind == 'curves' else ''}{BY_NAME[spec.y].axis}"
    axes.set_ylabel(label if len(label) <= LABEL else label.replace(" (", "\n(", 1))
    handles, labels = axes.get_legend_handles_labels()
    narrow = width_in < 4
    figure.legend(
        handles, labels, loc="outside upper left" if narrow else "outside right upper", ncols=2 if narrow else 1
    )
    lines = textwrap.wrap(note, width=int(width_in * 25))
    figure.supxlabel("\n".join(lines), fontsize=5.5, color="#555555", x=0.01, ha="left")
    return figure


def style() -> AbstractContextManager[None]:
    """The project's style, in force while a figure is drawn and while it is saved."""
    context: AbstractContextManager[None] = matplotlib.style.context(
        str(files("harness.report").joinpath("joulebench.mplstyle"))
    )
    return context


def caption(spec: FigureSpec, runs: pd.DataFrame, collected: Collected) -> str:
    """What the figure shows, how energy was obtained, and what the error bars are."""
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    bars = " ".join([ERROR_BARS] * bool(spec.x_error or spec.y_error) + [BOOTSTRAP_BARS] * spec.y_interval)
    texts = f"Text: {', '.join(sorted(set(runs['data'])))}."
    energy = energy_sentence(runs, collected.records) if shows_energy(spec) else ""
    repeats = "score_repeats" if any(column.startswith("score_") for column in (spec.x, spec.y)) else "repeats"
    hollow = "Hollow markers: modelled." if energy and "modelled" in set(runs["energy_method"]) else ""
    what = "Validations of each run: " if spec.kind == "curves" else ""
    shown = f"{what}{y.label} against {x.label.lower()}."
    protocol = protocol_sentence(runs, repeats)
    sentences = [shown, fit_sentence(spec, runs), texts, energy, hollow, protocol, bars]
    return " ".join(sentence for sentence in sentences if sentence)


def fit_sentence(spec: FigureSpec, runs: pd.DataFrame) -> str:
    """The exponents of a power-law figure, and of the published one beside them."""
    if spec.kind != "power-law":
        return ""
    fits = {label: fit_of(spec, group) for label, _, group in series(spec, runs)}
    found = [
        f"{label}: {law.exponent:.3f} ({law.exponent_low:.3f} to {law.exponent_high:.3f})"
        for label, law in fits.items()
        if law is not None
    ]
    reference = f" Dotted: {spec.reference} ({spec.reference_exponent:g})." if spec.reference_exponent else ""
    return f"Exponents with 95 % intervals of the fits: {'; '.join(found)}.{reference}" if found else ""


def _write(
    name: str, spec: FigureSpec, runs: pd.DataFrame, collected: Collected, folder: Path, width_in: float
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = caption(spec, runs, collected)
    with style():
        figure = draw(spec, runs, text, width_in, collected.curves)
        # No date inside, so that the same records give the same file.
        for suffix, undated in ((".pdf", {"CreationDate": None}), (".png", {})):
            with atomic_path(folder / f"{name}{suffix}") as temporary:
                figure.savefig(temporary, format=suffix[1:], metadata=undated)
    sidecar = {"caption": text, "run_ids": sorted(runs["run_id"])}
    with atomic_path(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
    return folder / f"{name}.pdf"
