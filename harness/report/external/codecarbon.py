"""CodeCarbon's emissions.csv: a row a tracked run, or a task of a run.

Read and written against 3.3.2 (`codecarbon/output_methods/emissions_data.py`); files since 2.0 have the columns that
are needed. The energies there include the PUE that the user set, since `emissions_tracker.py` multiplies by it; ours
never do, so they are divided by it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from harness.report.external.rows import Row, codecarbon_energy, positive, quotient, readable_id, wrong_file
from harness.report.site import J_PER_KWH

_EXPECTED = "CodeCarbon's emissions.csv with the columns duration and energy_consumed, and run_id or experiment_id"
_REMEDY = "give the file that CodeCarbon wrote (output_file, in output_dir); import other tables as tidy-csv=PATH"


def read_codecarbon(path: Path) -> list[Row]:
    """The runs of an emissions.csv.

    A run that was flushed stands in it several times, each time with its sums so far: the last row counts. The file
    says nothing of the model or its precision.

    Raises:
        UserError: If it is no such file.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise wrong_file(path, f"cannot be read as CSV ({error})", _EXPECTED, _REMEDY) from error
    identity = next((name for name in ("run_id", "experiment_id") if name in table.columns), "run_id")
    missing = [name for name in (identity, "duration", "energy_consumed") if name not in table.columns]
    if missing:
        raise wrong_file(path, f"lacks the columns {', '.join(missing)}", _EXPECTED, _REMEDY)
    keys = [identity, *(["task_name"] if "task_name" in table.columns else [])]
    last = table.drop_duplicates(keys, keep="last").to_dict("records")
    return [_row({str(key): value for key, value in entry.items()}, identity, path) for entry in last]


def _row(entry: dict[str, Any], identity: str, path: Path) -> Row:
    pue = positive(entry.get("pue")) or 1.0
    kwh = {"total": entry["energy_consumed"], **{name: entry.get(f"{name}_energy") for name in ("cpu", "gpu", "ram")}}
    joules, duration_s = positive(entry["energy_consumed"], J_PER_KWH / pue), positive(entry["duration"])
    graphics = entry.get("gpu_model")
    on_gpu = isinstance(graphics, str) and positive(kwh["gpu"]) is not None
    project, task = entry.get("project_name"), entry.get("task_name")
    return {
        "study": project if isinstance(project, str) else "codecarbon",
        "run_id": readable_id("codecarbon", project, task, str(entry[identity])[:8]),
        "status": "ok",
        "task": task,
        "device_name": graphics if on_gpu else entry.get("cpu_model"),
        **codecarbon_energy(kwh, pue),
        "run_energy_j": joules,
        "mean_power_w": quotient(joules, duration_s),
        "duration_s": duration_s,
        "origin": f"CodeCarbon {entry.get('codecarbon_version', '')}".strip() + f", {path.name}",
    }
