"""Differences with their intervals, one below the other: what differs from the reference, and how surely."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from harness.metrics.registry import BY_NAME
from harness.report.files import RunFiles
from harness.report.kinds.kind import Kind, one_run
from harness.report.kinds.stacked import MOST, names_of
from harness.report.look import COLOURS, interval, log_axis, ordered, plain
from harness.report.spec import FigureSpec

# What a column is compared with where it does not differ: a ratio with 1, a difference with 0.
NEUTRAL = {"energy_ratio": 1.0}
# Ratio of differences from which on the axis is logarithmic, beyond its linear part.
WIDE, LINEAR = 100.0, 0.01


def _draw(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> None:
    x, runs = BY_NAME[spec.x], ordered(spec, runs)
    neutral = NEUTRAL.get(x.name, 0.0) * x.scale
    places = range(len(runs))[::-1]
    for place, (_, run) in zip(places, runs.iterrows(), strict=True):
        surely = not run[f"{x.name}_ci_low"] <= neutral / x.scale <= run[f"{x.name}_ci_high"]
        axes.errorbar(
            run[x.name] * x.scale,
            place,
            xerr=[[side[0]] for side in _sides(run, spec)],
            color=COLOURS[0] if surely else COLOURS[-1],
            marker="o" if surely else "D",
        )
    if _wide(spec, runs):
        axes.set_xscale("symlog", linthresh=LINEAR)  # Small differences have a place beside large ones.
        axes.xaxis.set_major_formatter(FuncFormatter(plain))
    if neutral != 0:
        log_axis(axes, "x")  # Twice as much is as far from 1 as half as much.
    axes.axvline(neutral, color="black", lw=0.7, ls="--")
    axes.set_yticks(list(places), labels=names_of(spec, runs))
    axes.grid(axis="y", visible=False)
    axes.set_ylim(-0.7, len(runs) - 0.3)


def _wide(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    """Whether differences are so unlike that a linear axis would hide the small ones."""
    values = runs[spec.x].astype(float).abs()
    return NEUTRAL.get(spec.x, 0.0) == 0 and bool(values.max() > WIDE * values[values > 0].min())


def _sides(run: pd.Series, spec: FigureSpec) -> list[list[float]]:
    return [list(side) for side in interval(pd.DataFrame([run]), BY_NAME[spec.x])]


def _shown(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> pd.Series:
    """Runs with an interval; the reference itself has nothing to say."""
    columns = [spec.x, f"{spec.x}_ci_low", f"{spec.x}_ci_high"]
    known = runs[columns].notna().all(axis=1)
    return known & ~(runs[columns] == NEUTRAL.get(spec.x, 0.0)).all(axis=1)


def _enough(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    return one_run(spec, runs) and len(runs) <= MOST


def _caption(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    metric = BY_NAME[spec.x]
    linear = f" The axis is linear within {LINEAR:g} of 0 and logarithmic beyond." if _wide(spec, runs) else ""
    return (
        f"{metric.label}: {metric.meaning} Bars: {BY_NAME[f'{spec.x}_ci_low'].meaning} Grey: the interval holds no "
        f"difference.{linear}"
    )


def _name_axes(axes: Axes, spec: FigureSpec) -> None:
    axes.set_xlabel(BY_NAME[spec.x].axis)


FOREST = Kind(_draw, _shown, _enough, _caption, columns=("x",), name_axes=_name_axes, interval_of_x=True)
