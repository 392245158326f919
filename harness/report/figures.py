"""Figures from a declarative list: each says what it plots, and is left out where a study cannot fill it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import pandas as pd
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from harness.data.cache import atomic_path
from harness.errors import UserError
from harness.metrics.registry import BY_NAME, Metric
from harness.report.collect import Collected
from harness.report.wording import energy_sentence, protocol_sentence
from harness.stats.pareto import pareto_front

# Full text width, or a column where the venue has two, in inches.
VENUES = {"neurips": 5.5, "iclr": 5.5, "icml": 6.75, "icml-column": 3.25, "acl": 6.3, "acl-column": 3.03,
          "ieee": 7.16, "ieee-column": 3.5}  # fmt: skip
# Paul Tol's bright scheme: told apart by colour-blind readers; markers and dashes repeat what colour says.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#66CCEE", "#CCBB44", "#777777")
MARKERS = "osD^vP*X"
DASHES = ("-", "--", ":", "-.")
ERROR_BARS = "Error bars: 95 % of random error (Student's t over repeats, and the counters' updates)."


@dataclass(frozen=True)
class FigureSpec:
    """One entry of a figure list; see default_figures.yaml for the meaning of each key."""

    name: str
    kind: Literal["pareto", "lines"]
    x: str
    y: str
    series: tuple[str, ...]
    x_error: str | None = None
    y_error: str | None = None
    each: str | None = None
    where: dict[str, Any] = field(default_factory=dict)


def load_specs(study: str, experiments: Path) -> list[FigureSpec]:
    """The study's own figure list, or the default one.

    Raises:
        UserError: If the list has an unknown key, kind or column.
    """
    own = experiments / study / "figures.yaml"
    default = files("harness.report").joinpath("default_figures.yaml")
    text = own.read_text(encoding="utf-8") if own.is_file() else default.read_text(encoding="utf-8")
    return [_spec(entry, str(own)) for entry in yaml.safe_load(text)]


def _spec(entry: dict[str, Any], where: str) -> FigureSpec:
    try:
        spec = FigureSpec(**{**entry, "series": tuple(entry["series"])})
    except (TypeError, KeyError) as error:
        known = list(FigureSpec.__dataclass_fields__)
        raise UserError(f"{where}: figure {entry.get('name')}: {error}", allowed=known) from error
    columns = [spec.x, spec.y, spec.x_error, spec.y_error, spec.each, *spec.series, *spec.where]
    unknown = [column for column in columns if column is not None and column not in BY_NAME]
    if unknown or spec.kind not in _DRAW:
        raise UserError(f"{where}: figure {spec.name}: unknown {unknown or spec.kind}", allowed=[*BY_NAME, *_DRAW])
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
        for name, runs in _panels(spec, collected.runs):
            if enough(spec, runs):
                drawn.append(_write(name, spec, runs, collected, folder, VENUES[venue]))
    return drawn


def _panels(spec: FigureSpec, runs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The runs of each figure that a spec stands for."""
    chosen = runs[runs["status"] == "ok"]
    for column, value in spec.where.items():
        chosen = chosen[chosen[column] == value]
    chosen = chosen.dropna(subset=[spec.x, spec.y])
    if spec.each is None:
        yield spec.name, chosen
        return
    for value, group in chosen.groupby(spec.each):
        yield f"{spec.name}_{value!s}", group


def enough(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    """Whether a figure would show anything: two points for a front, two values of x for a line."""
    return len(runs) >= 2 and (spec.kind != "lines" or runs[spec.x].nunique() >= 2)


def draw(spec: FigureSpec, runs: pd.DataFrame, note: str, width_in: float) -> Figure:
    """One figure from a data frame with the columns of runs.csv.

    Args:
        spec: What to plot.
        runs: The runs to show.
        note: Sentence below the axes: where energy came from, what the error bars are.
        width_in: Width in inches.
    """
    figure = Figure(figsize=(width_in, max(2.6, width_in * 0.56)), layout="constrained")
    axes = figure.add_subplot()
    _DRAW[spec.kind](axes, spec, runs)
    axes.set_xlabel(BY_NAME[spec.x].axis)
    axes.set_ylabel(BY_NAME[spec.y].axis)
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


def _draw_pareto(axes: Axes, spec: FigureSpec, runs: pd.DataFrame) -> None:
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    for label, look, group in _series(spec, runs):
        axes.errorbar(
            group[x.name] * x.scale,
            group[y.name] * y.scale,
            xerr=_bars(group, x, spec.x_error),
            yerr=_bars(group, y, spec.y_error),
            label=label,
            zorder=3,
            **{**look, "linestyle": "none"},
        )
    front = runs.iloc[pareto_front(list(zip(runs[x.name], runs[y.name], strict=True)))]
    axes.step(
        front[x.name] * x.scale, front[y.name] * y.scale, where="post", color="black", lw=0.8, label="Pareto front"
    )
    _log_axis(axes, "x")
    _log_axis(axes, "y")


def _draw_lines(axes: Axes, spec: FigureSpec, runs: pd.DataFrame) -> None:
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    for label, look, group in _series(spec, runs):
        ordered = group.sort_values(x.name)
        axes.errorbar(
            ordered[x.name] * x.scale,
            ordered[y.name] * y.scale,
            yerr=_bars(ordered, y, spec.y_error),
            label=label,
            **look,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(set(runs[x.name] * x.scale)))
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=0)


_DRAW = {"pareto": _draw_pareto, "lines": _draw_lines}


def _series(spec: FigureSpec, runs: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any], pd.DataFrame]]:
    """Runs by series, with label and look.

    The first column of the series that differs sets the colour, the last the marker and the dashes. Hollow markers are
    modelled energy, filled ones measured.
    """
    varying = [column for column in spec.series if runs[column].nunique() > 1] or [spec.series[-1]]
    order = runs.sort_values(["num_parameters", *varying], kind="stable")
    first, last = list(dict.fromkeys(order[varying[0]])), sorted(set(order[varying[-1]]))
    for values, group in order.groupby(varying, sort=False):
        colour = COLOURS[first.index(values[0]) % len(COLOURS)]
        number = last.index(values[-1])
        hollow = _shows_energy(spec) and set(group["energy_method"]) == {"modelled"}
        look = {
            "color": colour,
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": DASHES[number % len(DASHES)],
            "markerfacecolor": "white" if hollow else colour,
        }
        yield ", ".join(str(value) for value in values), look, group


def _shows_energy(spec: FigureSpec) -> bool:
    return any("energy" in column or "joules" in column for column in (spec.x, spec.y))


def _bars(runs: pd.DataFrame, metric: Metric, error: str | None) -> Any:
    return None if error is None else runs[metric.name] * metric.scale * runs[error].fillna(0.0)


def _log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Logarithmic, with plain numbers at 1, 2 and 5 times powers of ten."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, position: int) -> str:
    return f"{value:g}"


def caption(spec: FigureSpec, runs: pd.DataFrame, collected: Collected) -> str:
    """What the figure shows, how energy was obtained, and what the error bars are."""
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    bars = ERROR_BARS if spec.x_error or spec.y_error else ""
    texts = f"Text: {', '.join(sorted(set(runs['data'])))}."
    energy = energy_sentence(runs, collected.records) if _shows_energy(spec) else ""
    repeats = "score_repeats" if any(column.startswith("score_") for column in (spec.x, spec.y)) else "repeats"
    hollow = "Hollow markers: modelled." if energy and "modelled" in set(runs["energy_method"]) else ""
    sentences = [f"{y.label} against {x.label.lower()}.", texts, energy, hollow, protocol_sentence(runs, repeats), bars]
    return " ".join(sentence for sentence in sentences if sentence)


def _write(
    name: str, spec: FigureSpec, runs: pd.DataFrame, collected: Collected, folder: Path, width_in: float
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = caption(spec, runs, collected)
    with style():
        figure = draw(spec, runs, text, width_in)
        # No date inside, so that the same records give the same file.
        for suffix, undated in ((".pdf", {"CreationDate": None}), (".png", {})):
            with atomic_path(folder / f"{name}{suffix}") as temporary:
                figure.savefig(temporary, format=suffix[1:], metadata=undated)
    sidecar = {"caption": text, "run_ids": sorted(runs["run_id"])}
    with atomic_path(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
    return folder / f"{name}.pdf"
