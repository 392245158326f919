"""windows.parquet: one row a window, every raw figure, nothing left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from harness.data.cache import atomic_path
from harness.energy.figure import EnergyFigure, Method
from harness.energy.meter import EnergyMeter, Window, Work

FILE_NAME = "windows.parquet"
POWER_FILE_NAME = "power.parquet"


def write_windows(folder: Path, windows: Sequence[Window]) -> None:
    """Write the windows of a run, also where there is none."""
    write_frame(folder / FILE_NAME, [window_row(window) for window in windows])


def write_power(folder: Path, meter: EnergyMeter) -> None:
    """Write the trace of power, temperature and clocks, where there is one; times count from the meter's start."""
    if not meter.sampler.samples:
        return
    rows = [
        {**vars(sample), "time_s": sample.time_s - meter.origin, "flags": ",".join(sample.flags)}
        for sample in list(meter.sampler.samples)
    ]
    write_frame(folder / POWER_FILE_NAME, rows)


def window_state(window: Window) -> dict[str, Any]:
    """A window as plain containers, from which `window_from_state` makes it again."""
    return {**asdict(window), "figures": [{**asdict(f), "method": f.method.value} for f in window.figures]}


def window_from_state(state: Mapping[str, Any]) -> Window:
    """The inverse of `window_state`."""
    figures = tuple(
        EnergyFigure(
            **{
                **figure,
                "method": Method(figure["method"]),
                "parts_j": tuple(figure.get("parts_j", ())),  # Checkpoints of earlier versions have none.
                "flags": tuple(figure["flags"]),
                "notes": tuple(figure["notes"]),
            }
        )
        for figure in state["figures"]
    )
    return Window(**{**state, "figures": figures, "flags": tuple(state["flags"]), "work": Work(**state["work"])})


def write_frame(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as Parquet, whole or not at all."""
    with atomic_path(path) as temporary:
        pd.DataFrame(rows).to_parquet(temporary, index=False)


def window_row(window: Window) -> dict[str, Any]:
    """A window as one flat row; a component without a reading is empty."""
    energy = window.energy
    row: dict[str, Any] = {
        "phase": window.phase,
        "repeat": window.repeat,
        "label": window.label,
        "start_s": window.start_s,
        "duration_s": window.duration_s,
        "own_cpu_s": window.own_cpu_s,
        "foreign_cpu_s": window.foreign_cpu_s,
        **vars(window.work),
        "total_energy_j": energy.value_j,
        "total_energy_low_j": energy.low_j,
        "total_energy_high_j": energy.high_j,
        "total_energy_quantisation_j": energy.quantisation_j,
        "energy_method": energy.method.value,
        "energy_components": "+".join(energy.components),
        "flags": ",".join(window.flags),
        "gpu_trace_energy_j": window.gpu_trace_j,
    }
    for figure in window.figures:
        prefix = f"{figure.component}_energy"
        row[f"{prefix}_j"] = figure.value_j
        row[f"{prefix}_low_j"] = figure.low_j
        row[f"{prefix}_high_j"] = figure.high_j
        row[f"{prefix}_method"] = figure.method.value
        row[f"{prefix}_quantisation_j"] = figure.quantisation_j
        row[f"{prefix}_source"] = figure.source
        row[f"{prefix}_notes"] = "; ".join(figure.notes)
    return row
