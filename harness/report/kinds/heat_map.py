"""A quantity by two axes of a grid, each cell with its number."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from harness.metrics.registry import BY_NAME
from harness.report.columns import format_value, short
from harness.report.files import RunFiles
from harness.report.kinds.kind import Kind
from harness.report.look import alike, plain
from harness.report.spec import FigureSpec

# Light to dark, also in grey; darker than this share of the range, numbers are white.
MAP, DARK = "cividis_r", 0.55


def _draw(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> None:
    assert spec.value is not None, "checked with the list"
    metric = BY_NAME[spec.value]
    grid = grid_of(spec, runs) * metric.scale
    numbers = grid.to_numpy(dtype=float)
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    norm = LogNorm(low, high) if 0 < low < high else None
    image = axes.imshow(numbers, cmap=mpl.colormaps[MAP], norm=norm, aspect="auto")
    axes.set_xticks(range(len(grid.columns)), labels=[short(BY_NAME[spec.x], value) for value in grid.columns])
    axes.set_yticks(range(len(grid.index)), labels=[short(BY_NAME[spec.y], value) for value in grid.index])
    for row, values in enumerate(numbers):
        for column, value in enumerate(values):
            if math.isfinite(value):
                dark = bool(np.greater(image.norm(value), DARK))
                text = format_value(value / metric.scale, metric)
                axes.text(column, row, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
    axes.grid(visible=False)
    assert axes.figure is not None
    bar = axes.figure.colorbar(image, ax=axes, label=metric.axis)
    if norm is not None:
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(plain))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())


def grid_of(spec: FigureSpec, runs: pd.DataFrame) -> pd.DataFrame:
    """The value by y (rows) and x (columns): the mean where several runs, such as seeds, share a cell."""
    return runs.pivot_table(index=spec.y, columns=spec.x, values=spec.value, aggfunc="mean", sort=True)


def _shown(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> pd.Series:
    return runs[[spec.x, spec.y, spec.value]].notna().all(axis=1)


def _enough(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    """Two values at least on both axes; unlike runs have no common mean."""
    return alike(runs) and min(runs[spec.x].nunique(), runs[spec.y].nunique()) >= 2


def _caption(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    x, y, value = (BY_NAME[str(name)] for name in (spec.x, spec.y, spec.value))
    shared = runs.groupby([spec.x, spec.y]).size().max()
    mean = f" Each number is the mean of up to {shared} runs." if shared > 1 else ""
    return f"{value.label} by {y.phrase} and {x.phrase}.{mean}"


HEAT_MAP = Kind(_draw, _shown, _enough, _caption, columns=("x", "y", "value"))
