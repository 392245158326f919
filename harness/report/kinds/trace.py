"""Power over the time of one run, its phases shaded."""

from __future__ import annotations

from typing import TypeGuard

import pandas as pd
from matplotlib.axes import Axes

from harness.report.files import POWER, WINDOWS, RunFiles
from harness.report.kinds.kind import Kind
from harness.report.look import COLOURS, DASHES, HATCHES
from harness.report.spec import FigureSpec


def _draw(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> None:
    run_id = runs["run_id"].iloc[0]
    windows, power = files.read(run_id, WINDOWS), files.read(run_id, POWER)
    assert windows is not None, "shown says that it is there"
    _shade(axes, windows)
    if _sampled(power):
        _draw_samples(axes, power)
    else:
        _draw_means(axes, windows)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)


def _sampled(power: pd.DataFrame | None) -> TypeGuard[pd.DataFrame]:
    return power is not None and bool(power["watts"].notna().any())


def _shade(axes: Axes, windows: pd.DataFrame) -> None:
    """A colour and a hatch a phase, behind the lines."""
    for number, phase in enumerate(dict.fromkeys(windows["phase"])):
        own = windows[windows["phase"] == phase]
        for index, (start, length) in enumerate(zip(own["start_s"], own["duration_s"], strict=True)):
            axes.axvspan(
                start,
                start + length,
                facecolor=COLOURS[number % len(COLOURS)],
                alpha=0.25,
                hatch=HATCHES[(number + number // len(COLOURS)) % len(HATCHES)],
                edgecolor="white",
                linewidth=0,
                label=phase if index == 0 else None,
            )


def _draw_samples(axes: Axes, power: pd.DataFrame) -> None:
    """Every sample, held until the next, as the energy is integrated."""
    for number, (component, samples) in enumerate(power.groupby("component")):
        ordered = samples.sort_values("time_s")
        dashes = DASHES[number % len(DASHES)]
        axes.step(ordered["time_s"], ordered["watts"], where="post", color="black", ls=dashes, lw=0.9, label=component)


def _draw_means(axes: Axes, windows: pd.DataFrame) -> None:
    """Without samples, the mean power of each window over its length."""
    known = windows.dropna(subset=["total_energy_j"])
    for index, (_, window) in enumerate(known.iterrows()):
        watts = float(window["total_energy_j"]) / float(window["duration_s"])
        ends = [window["start_s"], window["start_s"] + window["duration_s"]]
        label = "mean of a window" if index == 0 else None
        axes.plot(ends, [watts, watts], color="black", lw=1.2, solid_capstyle="butt", label=label)


def _shown(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> pd.Series:
    """The first run whose energy is known: a trace is of one run."""
    needed = {"phase", "start_s", "duration_s", "total_energy_j"}
    has = [needed <= files.columns(run_id, WINDOWS) for run_id in runs["run_id"]]
    able = pd.Series(has, index=runs.index, dtype=bool) & ~runs["energy_method"].isin([None, "unavailable"])
    return able & (able.cumsum() == 1)


def _enough(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    return len(runs) == 1


def _caption(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    run_id = runs["run_id"].iloc[0]
    sampled = "as sampled" if _sampled(files.read(run_id, POWER)) else "the mean of each window, as nothing was sampled"
    return f"Power of run {run_id} over its time: {sampled}. Shaded: its phases."


def _name_axes(axes: Axes, spec: FigureSpec) -> None:
    axes.set_xlabel("Time (s)")
    axes.set_ylabel("Power (W)")


TRACE = Kind(_draw, _shown, _enough, _caption, columns=(), name_axes=_name_axes, of_energy=True, of_means=False)
