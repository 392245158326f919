"""Achieved FLOP/s against arithmetic intensity, below what the hardware's peaks allow (Williams et al. 2009)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.report.files import WINDOWS, Records, RunFiles
from harness.report.kinds.kind import Kind, one_run
from harness.report.look import DASHES, log_axis, series
from harness.report.spec import FigureSpec

GIGA = 1e9


def _draw(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> None:
    roofs: dict[tuple[float, float], str] = {}
    filled: dict[str, bool] = {}  # the markers of the first phase; those of others are hollow
    intensities: list[float] = []
    named: set[str] = set()
    for label, look, group in series(spec, runs):
        for run_id in group["run_id"]:
            for phase, point in points_of(files, run_id).iterrows():
                face = look["color"] if filled.setdefault(str(phase), not filled) else "white"
                name = f"{label}, {phase}"
                place = (point["intensity"], point["flops_per_second"] / GIGA)
                dot = {"marker": look["marker"], "color": look["color"], "markerfacecolor": face, "ls": "none"}
                axes.plot(*place, **dot, label=None if name in named else name)
                named.add(name)
                intensities.append(point["intensity"])
            peaks = peaks_of(Records(files.folders)[run_id])
            roofs.setdefault((peaks["flops"], peaks["bandwidth"]), peaks["dtype"])
    _draw_roofs(axes, roofs, intensities)
    log_axis(axes, "x")
    log_axis(axes, "y")


def _draw_roofs(axes: Axes, roofs: Mapping[tuple[float, float], str], intensities: list[float]) -> None:
    ridge = max(peak / bandwidth for peak, bandwidth in roofs)
    at = np.geomspace(min(*intensities, ridge) / 3, max(*intensities, ridge) * 3, 200)
    for number, ((peak, bandwidth), dtype) in enumerate(roofs.items()):
        attainable = np.minimum(peak, bandwidth * at) / GIGA
        axes.plot(at, attainable, color="black", lw=0.9, ls=DASHES[number % len(DASHES)], label=f"roof, {dtype}")


def points_of(files: RunFiles, run_id: str) -> pd.DataFrame:
    """FLOPs a byte and FLOP/s of each phase (index), over the windows that know both."""
    windows = files.read(run_id, WINDOWS)
    assert windows is not None, "shown says that it is there"
    known = windows.dropna(subset=["flops", "memory_bytes", "repeat"])
    sums = known.astype({"flops": float, "memory_bytes": float}).groupby("phase")
    totals = sums[["flops", "memory_bytes", "duration_s"]].sum()
    columns = {
        "intensity": totals["flops"] / totals["memory_bytes"],
        "flops_per_second": totals["flops"] / totals["duration_s"],
    }
    return pd.DataFrame(columns)


def peaks_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Peak FLOP/s of the run's arithmetic and memory bandwidth, of all devices; None where unknown."""
    hardware, precision = record["config"]["hardware"], record["config"]["precision"]
    devices = hardware.get("devices") or 1
    dtype = precision["compute"]
    rates = (hardware.get("peak_flops") or {}).get(dtype), hardware.get("memory_bandwidth_bytes_per_s")
    flops, bandwidth = (None if rate is None else rate * devices for rate in rates)
    return {"flops": flops, "bandwidth": bandwidth, "dtype": dtype}


def _shown(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> pd.Series:
    records = Records(files.folders)
    return pd.Series([_able(files, records, run_id) for run_id in runs["run_id"]], index=runs.index, dtype=bool)


def _able(files: RunFiles, records: Records, run_id: str) -> bool:
    """Whether its peaks are known, and its traffic with memory."""
    if run_id not in records or not {"flops", "memory_bytes", "repeat"} <= files.columns(run_id, WINDOWS):
        return False
    peaks = peaks_of(records[run_id])
    return None not in (peaks["flops"], peaks["bandwidth"]) and not points_of(files, run_id).empty


def _caption(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    return (
        "Achieved FLOP/s against arithmetic intensity: FLOPs by the published count, bytes by the least traffic that "
        "the phase needs (weights and cache once an iteration). Lines: what the hardware option's peaks allow."
    )


def _name_axes(axes: Axes, spec: FigureSpec) -> None:
    axes.set_xlabel("Arithmetic intensity (FLOP/byte)")
    axes.set_ylabel("Achieved (GFLOP/s)")


ROOFLINE = Kind(_draw, _shown, one_run, _caption, columns=(), name_axes=_name_axes, of_means=False)
