"""Bars a run, stacked by phase or by component: where the energy went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.metrics.registry import BY_NAME
from harness.report.columns import in_words
from harness.report.files import WINDOWS, RunFiles
from harness.report.kinds.kind import Kind, one_run
from harness.report.look import COLOURS, HATCHES, ordered
from harness.report.spec import FigureSpec

COMPONENTS = ("gpu", "cpu", "dram", "soc", "node")
# More bars than this cannot be told apart.
MOST = 40


def _draw(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> None:
    runs = ordered(spec, runs)
    shares = parts_of(spec, runs, files)
    left = np.zeros(len(shares))
    places = np.arange(len(shares))[::-1]
    for number, part in enumerate(shares.columns):
        widths = shares[part].to_numpy(dtype=float)
        axes.barh(
            places,
            np.nan_to_num(widths),
            left=left,
            height=0.7,
            label=part,
            color=COLOURS[number % len(COLOURS)],
            hatch=HATCHES[(number + number // len(COLOURS)) % len(HATCHES)],
            edgecolor="white",
            linewidth=0.4,
        )
        left = left + np.nan_to_num(widths)
    axes.set_yticks(places, labels=names_of(spec, runs))
    axes.grid(axis="y", visible=False)
    axes.set_xlim(left=0)


def parts_of(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> pd.DataFrame:
    """Joules of each run (rows) by phase, over all its windows, or by component, over its main phase's repeats.

    A part that a run lacks is missing.
    """
    if spec.parts == "components":
        found = runs[[f"{component}_energy_j" for component in COMPONENTS]].astype(float)
        found.columns = pd.Index(COMPONENTS)
        # A wall meter's figure holds the others.
        parts = found[list(COMPONENTS[:-1])].sum(axis=1, min_count=1)
        rest = (found.pop("node") - parts.fillna(0.0)).rename("rest of the node")
        found = pd.concat([found, rest.where(rest >= 0)], axis=1)
        return found.dropna(axis="columns", how="all").reset_index(drop=True)
    sums = [_by_phase(files, run_id) for run_id in runs["run_id"]]
    order = list(dict.fromkeys(phase for each in sums for phase in each.index))
    return pd.DataFrame([each.reindex(order) for each in sums], columns=order).reset_index(drop=True)


def _by_phase(files: RunFiles, run_id: str) -> pd.Series:
    windows = files.read(run_id, WINDOWS)
    assert windows is not None, "shown says that it is there"
    energies = windows.astype({"total_energy_j": float})
    # A phase of which a part is unknown is unknown.
    return energies.groupby("phase", sort=False)["total_energy_j"].agg(lambda joules: joules.sum(skipna=False))


def names_of(spec: FigureSpec, runs: pd.DataFrame) -> list[str]:
    """A name a run, by the columns of the series that differ."""
    columns: Sequence[str] = [each for each in spec.series if runs[each].nunique(dropna=False) > 1] or ["run_id"]
    return [", ".join(in_words(BY_NAME[each], run[each]) for each in columns) for _, run in runs.iterrows()]


def _shown(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> pd.Series:
    if spec.parts == "components":
        return runs[[f"{component}_energy_j" for component in COMPONENTS]].notna().any(axis=1)
    has = [{"phase", "total_energy_j"} <= files.columns(run_id, WINDOWS) for run_id in runs["run_id"]]
    return pd.Series(has, index=runs.index, dtype=bool) & ~runs["energy_method"].isin([None, "unavailable"])


def _enough(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    return one_run(spec, runs) and len(runs) <= MOST


def _caption(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    if spec.parts == "components":
        return "Energy of the main phase's measured repeats, by component."
    return (
        "Energy of each run by phase, loading and warm-up included. Measured phases are as long as the protocol's "
        "repeats made them."
    )


def _name_axes(axes: Axes, spec: FigureSpec) -> None:
    axes.set_xlabel("Energy (J)")


STACKED = Kind(_draw, _shown, _enough, _caption, columns=(), name_axes=_name_axes, of_energy=True, of_means=False)
