"""How each kind of figure is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from harness.metrics.registry import BY_NAME, Metric
from harness.report.spec import FigureSpec
from harness.stats.pareto import pareto_front
from harness.stats.power_law import PowerLaw, fit_power_law

# Paul Tol's bright scheme: told apart by colour-blind readers; markers and dashes repeat what colour says.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#66CCEE", "#CCBB44", "#777777")
MARKERS = "osD^vP*X"
DASHES = ("-", "--", ":", "-.")

# Ratio of an axis's ends from which on fewer ticks are named; and the linear part of an axis that has a zero.
WIDE, LINEAR = 3000.0, 0.01

Curves = Mapping[str, pd.DataFrame]
"""Quality curve by run id."""

# Columns of a quality curve that stand in runs.csv under another name.
CURVE_COLUMNS = {"train_steps": "step", "train_tokens": "tokens"}


def _draw_pareto(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, curves: Curves) -> None:
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    for label, look, group in series(spec, runs):
        axes.errorbar(
            group[x.name] * x.scale,
            group[y.name] * y.scale,
            xerr=_bars(group, x, spec.x_error),
            yerr=_interval(group, y) if spec.y_interval else _bars(group, y, spec.y_error),
            label=label,
            zorder=3,
            **{**look, "linestyle": "none"},
        )
    sign = -1 if y.better == "higher" else 1
    front = runs.iloc[pareto_front(list(zip(runs[x.name], sign * runs[y.name], strict=True)))]
    axes.step(
        front[x.name] * x.scale, front[y.name] * y.scale, where="post", color="black", lw=0.8, label="Pareto front"
    )
    _log_axis(axes, "x")
    if y.better == "lower" and (runs[y.name] <= 0).any():
        axes.set_yscale("symlog", linthresh=LINEAR)  # Zero, and what is near it, has a place too.
        axes.axhline(0, color="#777777", lw=0.5, zorder=1)
        axes.margins(y=0.12)
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    elif y.better == "lower":
        _log_axis(axes, "y")
    else:
        axes.set_ylim(bottom=0)


def _draw_lines(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, curves: Curves) -> None:
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    for label, look, group in series(spec, runs):
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


def _draw_curves(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, curves: Curves) -> None:
    """One line a run: its validations."""
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    for label, look, group in series(spec, runs):
        for number, run_id in enumerate(group["run_id"]):
            curve = curves[run_id]
            axes.plot(
                curve[CURVE_COLUMNS.get(x.name, x.name)] * x.scale,
                curve[CURVE_COLUMNS.get(y.name, y.name)] * y.scale,
                label=label if number == 0 else None,
                **{**look, "markersize": 2},
            )
    _log_axis(axes, "x")
    _log_axis(axes, "y")


def _draw_power_law(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, curves: Curves) -> None:
    """Points, and a straight line through the logarithms of each series with three points or more."""
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    for label, look, group in series(spec, runs):
        ordered = group.sort_values(x.name)
        at, law = ordered[x.name] * x.scale, fit_of(spec, group)
        axes.plot(at, ordered[y.name] * y.scale, label=label, **{**look, "linestyle": "none"})
        if law is not None:
            axes.plot(at, [law.at(value) * y.scale for value in ordered[x.name]], color=look["color"], lw=0.8)
            if spec.reference_exponent is not None:
                first = ordered.iloc[0]
                steps = (ordered[x.name] / first[x.name]) ** spec.reference_exponent
                axes.plot(at, first[y.name] * y.scale * steps, color=look["color"], lw=0.6, ls=":")
    _log_axis(axes, "x")
    _log_axis(axes, "y")


def fit_of(spec: FigureSpec, runs: pd.DataFrame) -> PowerLaw | None:
    """The power law through some runs, in the units of runs.csv."""
    return fit_power_law(list(runs[spec.x]), list(runs[spec.y]))


DRAW = {"pareto": _draw_pareto, "lines": _draw_lines, "curves": _draw_curves, "power-law": _draw_power_law}


def series(spec: FigureSpec, runs: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any], pd.DataFrame]]:
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
        hollow = shows_energy(spec) and set(group["energy_method"]) == {"modelled"}
        look = {
            "color": colour,
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": DASHES[number % len(DASHES)],
            "markerfacecolor": "white" if hollow else colour,
        }
        labels = [_in_words(BY_NAME[column], value) for column, value in zip(varying, values, strict=True)]
        yield ", ".join(labels), look, group


def _in_words(metric: Metric, value: Any) -> str:
    return value if isinstance(value, str) else f"{value * metric.scale:.3g} {metric.unit or metric.label.lower()}"


def shows_energy(spec: FigureSpec) -> bool:
    """Whether an axis is an energy."""
    return any("energy" in column or "joules" in column for column in (spec.x, spec.y))


def _bars(runs: pd.DataFrame, metric: Metric, error: str | None) -> Any:
    return None if error is None else runs[metric.name] * metric.scale * runs[error].fillna(0.0)


def _interval(runs: pd.DataFrame, metric: Metric) -> Any:
    """Distances (2, N) to the ends of the metric's interval; no bar where it has none."""
    low, high = (runs[f"{metric.name}_ci_{end}"] for end in ("low", "high"))
    return [(distance * metric.scale).fillna(0.0) for distance in (runs[metric.name] - low, high - runs[metric.name])]


def _log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Logarithmic, with plain numbers at 1, 2 and 5 times powers of ten, or at these alone."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    # Over many decades only their ends are named.
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < low * WIDE else (1.0,)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, position: int) -> str:
    return f"{value:g}"
