"""The quality curve of each run: its validations."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from harness.metrics.registry import BY_NAME
from harness.report.files import CURVE, RunFiles
from harness.report.kinds.kind import Kind, one_run, y_against_x
from harness.report.look import log_axis, series
from harness.report.spec import FigureSpec

# Columns of a quality curve that stand in runs.csv under another name.
COLUMNS = {"train_steps": "step", "train_tokens": "tokens"}


def _draw(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> None:
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    for label, look, group in series(spec, runs):
        for number, run_id in enumerate(group["run_id"]):
            curve = files.read(run_id, CURVE)
            assert curve is not None, "shown says that it is there"
            axes.plot(
                curve[COLUMNS.get(x.name, x.name)] * x.scale,
                curve[COLUMNS.get(y.name, y.name)] * y.scale,
                label=label if number == 0 else None,
                **{**look, "markersize": 2},
            )
    log_axis(axes, "x")
    log_axis(axes, "y")


def _shown(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> pd.Series:
    """Runs with a validation of which both is known."""
    names = [COLUMNS.get(name, name) for name in (spec.x, spec.y)]
    able = [_able(files.read(run_id, CURVE), names) for run_id in runs["run_id"]]
    return pd.Series(able, index=runs.index, dtype=bool)


def _able(curve: pd.DataFrame | None, names: list[str]) -> bool:
    if curve is None or not set(names) <= set(curve):
        return False
    return bool((curve[names].astype(float) > 0).all(axis=1).any())


def _caption(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    return f"Validations of each run: {y_against_x(spec, runs, files)}"


def _name_axes(axes: Axes, spec: FigureSpec) -> None:
    axes.set_xlabel(BY_NAME[spec.x].axis)
    axes.set_ylabel(f"Validation: {BY_NAME[spec.y].axis}")


CURVES = Kind(_draw, _shown, one_run, _caption, name_axes=_name_axes, of_means=False)
