"""What all figures share: colours, markers, labels and axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from harness.metrics.registry import BY_NAME, Metric
from harness.report.columns import in_words, short
from harness.report.seeds import is_over_seeds
from harness.report.spec import FigureSpec

# Paul Tol's bright scheme: told apart by colour-blind readers; markers and dashes repeat what colour says.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#66CCEE", "#CCBB44", "#777777")
MARKERS = "osD^vP*X"
DASHES = ("-", "--", ":", "-.")
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "++")

# Runs that differ in one of these are never one line, front or mean.
UNLIKE = ("study", "data", "device_name", "environment_fingerprint")
# Ratio of an axis's ends from which on fewer ticks are named.
WIDE = 3000.0


def series(spec: FigureSpec, runs: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any], pd.DataFrame]]:
    """Runs by series, with label and look.

    The first column of the series that differs sets the colour, the last the marker and the dashes. Hollow markers are
    modelled energy, filled ones measured; a series that has both is two.
    """
    names = {value: f"environment {number}" for number, value in enumerate(runs["environment_fingerprint"].unique(), 1)}
    runs = runs.assign(environment_fingerprint=runs["environment_fingerprint"].map(names))
    columns = list(spec.series) or ["model"]
    # What was measured on unlike data or machines is not joined, whatever the list says.
    columns = [*(column for column in UNLIKE if runs[column].nunique() > 1 and column not in columns), *columns]
    varying = [column for column in columns if runs[column].nunique(dropna=False) > 1] or [columns[-1]]
    order = runs.sort_values(["num_parameters", *varying], kind="stable")
    first, last = list(dict.fromkeys(order[varying[0]])), sorted(set(order[varying[-1]]), key=_in_order)
    mixed = shows_energy(spec) and (runs["energy_method"] == "modelled").nunique() > 1
    modelled = order["energy_method"] == "modelled"
    for values, group in order.groupby([*varying, modelled] if mixed else varying, sort=False, dropna=False):
        colour = COLOURS[position(values[0], first) % len(COLOURS)]
        number = position(values[len(varying) - 1], last)
        hollow = shows_energy(spec) and set(group["energy_method"]) == {"modelled"}
        look = {
            "color": colour,
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": DASHES[number % len(DASHES)],
            "markerfacecolor": "white" if hollow else colour,
        }
        labels = [in_words(BY_NAME[column], value) for column, value in zip(varying, values, strict=False)]
        yield ", ".join([*labels, *["modelled"] * (mixed and hollow)]), look, group


def _in_order(value: Any) -> tuple[bool, Any]:
    """Numbers by size, before words and what is missing."""
    return (True, str(value)) if isinstance(value, str) or pd.isna(value) else (False, value)


def alike(runs: pd.DataFrame) -> bool:
    """Whether all runs were made on one text and machine, and their energies are of one kind."""
    kinds = runs.assign(modelled=runs["energy_method"] == "modelled")[["modelled", *UNLIKE]]
    return len(kinds.drop_duplicates()) <= 1


def ordered(spec: FigureSpec, runs: pd.DataFrame) -> pd.DataFrame:
    """Runs in the order of their series' columns."""
    return runs.sort_values(["num_parameters", *spec.series], kind="stable")


def position(value: Any, among: Sequence[Any]) -> int:
    """Index of a value; a missing one is found too, though it does not equal itself."""
    return next(index for index, other in enumerate(among) if other == value or (pd.isna(other) and pd.isna(value)))


def shows_energy(spec: FigureSpec) -> bool:
    """Whether a column that it shows is an energy."""
    columns = (spec.x, spec.y, spec.value or "")
    return any("energy" in each or "joules" in each for each in columns)


def interval(runs: pd.DataFrame, metric: Metric) -> Any:
    """Distances (2, N) to the ends of the metric's interval; NaN, and no bar, where it has none."""
    low, high = (_column(runs, f"{metric.name}_ci_{end}") for end in ("low", "high"))
    return [distance * metric.scale for distance in (runs[metric.name] - low, high - runs[metric.name])]


def x_bars(spec: FigureSpec, runs: pd.DataFrame, metric: Metric) -> Any:
    """Bars of x as distances (2, N), by its relative half-width or, of means over seeds, its interval; None without."""
    return _bars(runs, metric, spec.x_error, False)


def y_bars(spec: FigureSpec, runs: pd.DataFrame, metric: Metric) -> Any:
    """Bars of y, by its interval or its relative half-width, as the spec says; of means over seeds, by its interval."""
    return _bars(runs, metric, spec.y_error, spec.y_interval)


def _bars(runs: pd.DataFrame, metric: Metric, error: str | None, by_interval: bool) -> Any:
    widths = _column(runs, error or "") * runs[metric.name].astype(float) * metric.scale
    own = interval(runs, metric) if by_interval else [widths, widths]
    if not is_over_seeds(runs):
        return own if error or by_interval else None
    return [mean.where(runs["seeds"] > 1, side) for mean, side in zip(interval(runs, metric), own, strict=True)]


def _column(runs: pd.DataFrame, name: str) -> pd.Series:
    """A column of numbers; missing ones where there is none."""
    return runs[name].astype(float) if name in runs else pd.Series(math.nan, index=runs.index)


def write_labels(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, x: Metric, y: Metric, colour: str) -> None:
    """The values of the spec's label columns beside each point."""
    for _, run in runs.iterrows() if spec.label else ():
        text = ", ".join(short(BY_NAME[column], run[column]) for column in spec.label)
        at = (run[x.name] * x.scale, run[y.name] * y.scale)
        axes.annotate(text, at, xytext=(4, 3), textcoords="offset points", fontsize=6, color=colour)


def log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Logarithmic, with plain numbers at 1, 2 and 5 times powers of ten, or at these alone."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if not math.isfinite(axis.get_minpos()):
        return  # Nothing positive is shown.
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    # Over many decades only their ends are named.
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < low * WIDE else (1.0,)))
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_formatter(NullFormatter())


def plain(value: float, position: int) -> str:
    """A tick's number."""
    return f"{value:g}"
