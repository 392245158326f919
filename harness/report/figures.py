"""Figures from a declarative list: each says what it plots, and is left out where a study cannot fill it."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure

from harness.data.cache import atomic_path
from harness.errors import UserError, did_you_mean, first_line
from harness.report.collect import Collected
from harness.report.files import RunFiles
from harness.report.kinds import KINDS
from harness.report.look import log_axis, shows_energy
from harness.report.seeds import BY, is_over_seeds, run_ids_of
from harness.report.spec import FigureSpec
from harness.report.wording import energy_label, energy_sentence, protocol_sentence, seeds_phrase

# Full text width, or a column where the venue has two, in inches.
VENUES = {"neurips": 5.5, "iclr": 5.5, "icml": 6.75, "icml-column": 3.25, "acl": 6.3, "acl-column": 3.03,
          "ieee": 7.16, "ieee-column": 3.5}  # fmt: skip
# Characters of a label that stand beside an axis; longer ones have their unit in a second line.
LABEL = 32
ERROR_BARS = "Error bars: 95 % of random error ({} over repeats, and the counters' updates)."
BOOTSTRAP_BARS = "Vertical bars: 95 % bootstrap over the scored text."
# Below this width in inches legends stand above; letters of a note in an inch; inches of its line, and of a row of the
# legend.
NARROW, LETTERS, LINE, LEGEND_ROW = 4.0, 23, 0.09, 0.14
# Figures of more points than this are pixels inside their PDF and SVG, which would be megabytes of paths.
MANY = 2000


@dataclass(frozen=True)
class Drawn:
    """A figure on disk.

    Attributes:
        path: The PDF; PNG, SVG and the caption with its run ids stand beside it.
        caption: What it shows.
        run_ids: Whose runs.
    """

    path: Path
    caption: str
    run_ids: list[str]


def write_figures(
    collected: Collected, specs: Sequence[FigureSpec], folder: Path, venue: str, by_hand: bool = False
) -> list[Drawn]:
    """Draw what can be drawn, as PDF, PNG and SVG, each with its caption and run ids.

    Those that are drawn `by_hand`, alone and perhaps under another name, are kept by later reports.

    Raises:
        UserError: If the venue is unknown.
    """
    if venue not in VENUES:
        raise UserError(f"--venue {venue}: unknown", allowed=VENUES)
    drawn: list[Drawn] = []
    for spec in specs:
        sized = spec if spec.width_in else replace(spec, width_in=VENUES[venue])
        for name, runs in _panels(spec, collected):
            if KINDS[spec.kind].enough(spec, runs):
                drawn.append(_write(folder / f"{name}.pdf", sized, runs, collected, by_hand))
    return drawn


def remove_others(folder: Path, drawn: Sequence[Drawn]) -> None:
    """Remove figures of an earlier report that are not among these: those with a caption beside them.

    Those that somebody drew by hand are theirs.
    """
    kept = {each.path.stem for each in drawn}
    for sidecar in folder.glob("*.json"):
        if sidecar.stem not in kept and not json.loads(sidecar.read_text(encoding="utf-8")).get("by_hand", False):
            for suffix in (".pdf", ".png", ".svg", ".json"):
                sidecar.with_suffix(suffix).unlink(missing_ok=True)


def _panels(spec: FigureSpec, collected: Collected) -> Iterator[tuple[str, pd.DataFrame]]:
    """The runs of each figure that a spec stands for."""
    chosen = collected.means if _of_means(spec) else collected.ok
    for column, value in spec.where.items():
        chosen = chosen[chosen[column].isin(value if isinstance(value, list) else [value])]
    chosen = chosen[KINDS[spec.kind].shown(spec, chosen, collected.files)] if len(chosen) else chosen
    if spec.each is None:
        yield spec.name, chosen
        return
    for value, group in chosen.groupby(spec.each):
        yield f"{spec.name}_{value!s}".replace("/", "-"), group


def _of_means(spec: FigureSpec) -> bool:
    """Whether cells with several seeds are one point; not where the seed is what is shown."""
    columns = {*spec.series, *spec.where, *spec.label, spec.each, spec.x, spec.y}
    return KINDS[spec.kind].of_means and spec.seeds == "mean" and "seed" not in columns


def draw(spec: FigureSpec, runs: pd.DataFrame, note: str = "", files: RunFiles | None = None) -> Figure:
    """One figure from a data frame with the columns of runs.csv, also in a notebook.

    Args:
        spec: What to plot.
        runs: The runs to show.
        note: Sentence below the axes: where energy came from, what the error bars are.
        files: What the runs left beside their records, for the kinds that show it.
    """
    kind, width = KINDS[spec.kind], spec.width_in or VENUES["neurips"]
    with settings(spec.rc):
        figure = Figure(figsize=(width, spec.height_in or max(2.3, width * 0.5)), layout="constrained")
        axes = figure.add_subplot()
        kind.draw(axes, spec, runs, files or RunFiles())
        kind.name_axes(axes, spec)
        for each in figure.axes:  # a colour bar has axes of its own
            each.set_ylabel(_two_lines(each.get_ylabel(), LABEL if width > NARROW else LABEL // 2))
        _scales(axes, spec)
        if spec.title:
            axes.set_title(spec.title)
        _legend(figure, spec, width)
        if len(runs) > MANY:
            axes.set_rasterization_zorder(10)
        write_note(figure, note)
    return figure


def write_note(figure: Figure, note: str) -> None:
    """Sentences below the axes, in place of earlier ones; the figure grows by their lines."""
    width, height = figure.get_size_inches()
    before = getattr(figure, "_supxlabel", None)
    lines = textwrap.wrap(note, width=int(width * LETTERS))
    earlier = len(before.get_text().splitlines()) if before is not None else 0
    figure.set_size_inches(width, height + (len(lines) - earlier) * LINE)
    figure.supxlabel("\n".join(lines), fontsize=5.5, color="#555555", x=0.01, ha="left")


def _two_lines(label: str, longest: int) -> str:
    return label if len(label) <= longest else label.replace(" (", "\n(", 1)


def _scales(axes: Any, spec: FigureSpec) -> None:
    """Scales that the spec asks for instead of the kind's own."""
    for which, scale in (("x", spec.x_scale), ("y", spec.y_scale)):
        if scale == "log":
            log_axis(axes, which)  # type: ignore[arg-type]
        elif scale == "linear":
            (axes.set_xscale if which == "x" else axes.set_yscale)("linear")


def _legend(figure: Figure, spec: FigureSpec, width: float) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    place = spec.legend or ("above" if width < NARROW else "right")
    if place == "none" or not handles:
        return
    where: Any = "outside upper left" if place == "above" else "outside right upper"
    columns = max(1, int(width * 12 / (max(map(len, labels)) + 8))) if place == "above" else 1
    if place == "above":
        rows = math.ceil(len(labels) / columns)
        figure.set_size_inches(width, figure.get_size_inches()[1] + rows * LEGEND_ROW)
    figure.legend(handles, labels, loc=where, ncols=columns)


def style() -> AbstractContextManager[None]:
    """The project's style, in force while a figure is drawn and while it is saved."""
    context: AbstractContextManager[None] = matplotlib.style.context(
        str(resources("harness.report").joinpath("joulebench.mplstyle"))
    )
    return context


def settings(rc: dict[str, Any]) -> AbstractContextManager[None]:
    """Settings of matplotlib, in force for a while.

    Raises:
        UserError: If it knows one of them not.
    """
    unknown = [name for name in rc if name not in mpl.rcParams]
    if unknown:
        raise UserError(f"rc: matplotlib has no setting {unknown[0]}", remedy=did_you_mean(unknown[0], mpl.rcParams))
    try:
        mpl.RcParams(rc)
    except ValueError as error:
        raise UserError(f"rc: {first_line(error)}", remedy="see matplotlib's list of settings") from error
    return mpl.rc_context(rc)  # type: ignore[arg-type]


def caption(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    """What the figure shows, how energy was obtained, and what the error bars are."""
    columns = (spec.x, spec.y, spec.value or "")
    texts = sorted({text for text in runs["data"] if isinstance(text, str)})
    energy = energy_sentence(runs) if _of_energy(spec) else ""
    repeats = "score_repeats" if any(column.startswith("score_") for column in columns) else "repeats"
    markers = KINDS[spec.kind].points and energy and "modelled" in set(runs["energy_method"])
    sentences = [
        KINDS[spec.kind].caption(spec, runs, files),
        f"Text: {', '.join(texts)}." if texts else "",
        energy,
        "Hollow markers: modelled." if markers else "",
        protocol_sentence(runs, repeats),
        *_bars_sentences(spec, runs),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _bars_sentences(spec: FigureSpec, runs: pd.DataFrame) -> Iterator[str]:
    """What the error bars are: of means over seeds, and of single runs."""
    single = runs
    if is_over_seeds(runs):
        bars = f"; their error bars: 95 %, {BY}" if KINDS[spec.kind].points else ""
        yield f"Means over {seeds_phrase(runs)}{bars}."
        single = runs[runs["seeds"] == 1]
    errors = [error for error in (spec.x_error, spec.y_error) if error]
    methods = {method for error in errors for method in single[f"{error}_by"].fillna("Student's t")}
    if methods:
        yield ERROR_BARS.format(" or ".join(sorted(methods)))
    if spec.y_interval and len(single):
        yield BOOTSTRAP_BARS


def _of_energy(spec: FigureSpec) -> bool:
    return KINDS[spec.kind].of_energy or shows_energy(spec)


def _write(path: Path, spec: FigureSpec, runs: pd.DataFrame, collected: Collected, by_hand: bool) -> Drawn:
    text = caption(spec, runs, collected.files)
    with style(), settings({"svg.hashsalt": path.stem, **spec.rc}):
        figure = draw(spec, runs, "", collected.files)
        # No date inside, so that the same records give the same file. A paper and the page have captions of their own;
        # the picture that is passed on alone carries its own.
        short = f"Energy: {energy_label(runs)}." if _of_energy(spec) else ""
        forms: tuple[tuple[str, str, dict[str, Any]], ...] = (
            (".pdf", short, {"CreationDate": None, "Subject": text}),
            (".svg", short, {"Date": None}),
            (".png", text, {}),
        )
        for suffix, note, metadata in forms:
            write_note(figure, note)
            with atomic_path(path.with_suffix(suffix)) as temporary:
                figure.savefig(temporary, format=suffix[1:], metadata=metadata)
    drawn = Drawn(path, text, run_ids_of(runs))
    with atomic_path(path.with_suffix(".json")) as temporary:
        sidecar = {"caption": drawn.caption, "run_ids": drawn.run_ids, **({"by_hand": True} if by_hand else {})}
        temporary.write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
    return drawn
