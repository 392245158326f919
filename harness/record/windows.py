"""windows.parquet: one row a window, every raw figure, nothing left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.data.cache import atomic_path
from harness.energy.meter import EnergyMeter, Window

FILE_NAME = "windows.parquet"
POWER_FILE_NAME = "power.parquet"


def write_windows(folder: Path, windows: Sequence[Window]) -> None:
    """Write the windows of a run, also where there is none."""
    frame = pd.DataFrame([window_row(window) for window in windows])
    with atomic_path(folder / FILE_NAME) as temporary:
        frame.to_parquet(temporary, index=False)


def write_power(folder: Path, meter: EnergyMeter) -> None:
    """Write the trace of power, temperature and clocks, where there is one; times count from the meter's start."""
    if not meter.sampler.samples:
        return
    rows = [
        {**vars(sample), "time_s": sample.time_s - meter.origin, "flags": ",".join(sample.flags)}
        for sample in list(meter.sampler.samples)
    ]
    with atomic_path(folder / POWER_FILE_NAME) as temporary:
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
