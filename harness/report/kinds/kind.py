"""What a kind of figure is: which runs it can show, when it shows anything, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from harness.metrics.registry import BY_NAME
from harness.report.files import RunFiles
from harness.report.spec import FigureSpec


def has_both(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> pd.Series:
    """Runs that have x and y."""
    return runs[[spec.x, spec.y]].notna().all(axis=1)


def two_points(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    """At least two runs."""
    return len(runs) >= 2


def two_places(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    """At least two values of x."""
    return runs[spec.x].nunique() >= 2


def one_run(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    """At least one run."""
    return not runs.empty


def y_against_x(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    """What most figures show."""
    return f"{BY_NAME[spec.y].label} against {BY_NAME[spec.x].phrase}."


def axes_by_registry(axes: Axes, spec: FigureSpec) -> None:
    """Name the axes as the registry names their columns."""
    axes.set_xlabel(BY_NAME[spec.x].axis)
    axes.set_ylabel(BY_NAME[spec.y].axis)


@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Attributes:
        draw: Draws runs into axes; the raw figures of a run are in its files.
        shown: Which runs it can show, as a mask.
        enough: Whether these runs are enough for a figure that says anything.
        caption: First sentences of the caption.
        columns: The spec's keys that must name columns of runs.csv.
        name_axes: Labels of the axes.
        interval_of_x: Whether x is shown with its interval, which it must then have.
        of_energy: Whether it shows energy, whatever its columns.
        points: Whether it shows points with error bars, hollow where energy is modelled.
        of_means: Whether a cell with several seeds can be one point, their mean.
    """

    draw: Callable[[Axes, FigureSpec, pd.DataFrame, RunFiles], None]
    shown: Callable[[FigureSpec, pd.DataFrame, RunFiles], pd.Series] = has_both
    enough: Callable[[FigureSpec, pd.DataFrame], bool] = two_points
    caption: Callable[[FigureSpec, pd.DataFrame, RunFiles], str] = y_against_x
    columns: tuple[str, ...] = ("x", "y")
    name_axes: Callable[[Axes, FigureSpec], None] = axes_by_registry
    interval_of_x: bool = False
    of_energy: bool = False
    points: bool = False
    of_means: bool = True
