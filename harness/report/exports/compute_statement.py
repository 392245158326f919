"""What a paper says about its compute, as the NeurIPS paper checklist asks for it (experiments' compute resources).

Workers, memory, time of the individual runs, the total, and what was computed besides the reported results: runs that
failed are in every sum. Energy names its method; what is missing is counted, and is in no sum.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.report.exports import Study, dig, write_text
from harness.report.tables import escape_latex

JOULES_PER_KWH = 3.6e6
# Headings, and the width of each column in LaTeX as a share of the line.
DEVICE_HEADINGS = {
    "Device": 0.13,
    "Memory": 0.14,
    "Runs": 0.05,
    "Not ok": 0.05,
    "Hours": 0.07,
    "Device-hours": 0.08,
    "Energy (kWh)": 0.15,
    "Energy is": 0.12,
    "No energy": 0.06,
}
RUN_HEADINGS = {"Run": 0.47, "Status": 0.13, "Minutes": 0.09, "Energy (kJ)": 0.1, "Energy is": 0.13}
ENERGY_COLUMNS = {"energy_j": "run_energy_j", "low_j": "run_energy_low_j", "high_j": "run_energy_high_j"}

Rows = Sequence[Sequence[str]]


def write(study: Study) -> list[Path]:
    """Write compute-statement.md and .tex: the paragraph, a table of devices and one of runs; returns the files."""
    runs = compute(study)
    devices = [_device_row(str(name), group) for name, group in runs.groupby("device")]
    rows = [_run_row(run) for _, run in runs.iterrows()]
    text = statement(runs, len(study.collected.left_out))
    tables = [(DEVICE_HEADINGS, devices), (RUN_HEADINGS, rows)]
    markdown = "\n\n".join([_escape_markdown(text), *(_markdown(*table) for table in tables)])
    latex = "\n\n".join([escape_latex(text), *(_latex(*table) for table in tables)])
    stem = study.exports / "compute-statement"
    return [
        write_text(stem.with_suffix(".md"), markdown + "\n"),
        write_text(stem.with_suffix(".tex"), "% Needs \\usepackage{array,booktabs,longtable}.\n" + latex + "\n"),
    ]


def compute(study: Study) -> pd.DataFrame:
    """One row a run, whatever its status.

    Columns: run_id, status, device, memory, hours, device_hours (NaN where the number of devices is not recorded),
    energy_j, low_j and high_j (NaN where missing), method ("unavailable" where there is no energy).
    """
    rows = study.collected.runs.to_dict("records")
    return pd.DataFrame([_compute_row(run, study.collected.records[run["run_id"]]) for run in rows])


def statement(runs: pd.DataFrame, unreadable: int) -> str:
    """The paragraph, as plain text.

    Args:
        runs: What `compute` gives.
        unreadable: Records that could not be read.
    """
    ok = runs[runs["status"] == "ok"]
    minutes = (runs if ok.empty else ok)["hours"] * 60
    shortest, median, longest = (_number(value) for value in minutes.quantile([0, 0.5, 1]))
    sentences = [
        f"The study made {_runs(len(runs))} on {_listed(sorted(set(runs['device'] + ' (' + runs['memory'] + ')')))}.",
        f"A run {'' if ok.empty else 'with a result '}took {shortest} to {longest} minutes (median {median}).",
        f"All runs together took {_number(runs['hours'].sum())} hours{_device_hours(runs)}.",
        _energy_sentence(runs),
        _failed_sentence(runs),
        f"Further records that could not be read, and are in no sum: {unreadable}." if unreadable else "",
        "Runs that were deleted or replaced by a later execution, and work outside of this study, left no record "
        "and are not included.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _compute_row(run: Mapping[Hashable, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    hours = float(run["duration_s"]) / 3600
    devices = dig(record, "config.hardware.devices")
    return {
        "run_id": run["run_id"],
        "status": run["status"],
        "device": run["device_name"] if isinstance(run["device_name"], str) else "unknown device",
        "memory": _memory(record.get("environment", {})),
        "hours": hours,
        "device_hours": float("nan") if devices is None else hours * devices,
        **{column: pd.to_numeric(run[name]) for column, name in ENERGY_COLUMNS.items()},
        "method": "unavailable" if pd.isna(run["run_energy_j"]) else _method(run["run_energy_method"]),
    }


def _method(method: Any) -> str:
    return method.replace("_", " ") if isinstance(method, str) else "method not recorded"


def _memory(environment: Mapping[str, Any]) -> str:
    """Main memory, and that of each GPU."""
    parts = [f"{board['memory_bytes'] / 1e9:.0f} GB GPU memory" for board in environment.get("gpus", [])]
    if environment.get("memory_bytes") is not None:
        parts.append(f"{environment['memory_bytes'] / 1e9:.0f} GB main memory")
    return ", ".join(dict.fromkeys(parts)) or "memory not recorded"


def _device_hours(runs: pd.DataFrame) -> str:
    unknown = int(runs["device_hours"].isna().sum())
    if unknown == len(runs):
        return " (the number of devices is not recorded)"
    left_out = f", without {_runs(unknown)} whose number of devices is not recorded" if unknown else ""
    return f" ({_number(runs['device_hours'].sum())} device-hours{left_out})"


def _energy_sentence(runs: pd.DataFrame) -> str:
    """Energy by method, never added over methods; what is missing."""
    with_energy = runs[runs["energy_j"].notna()]
    parts = [f"{_kwh(group)} kWh is {method} ({_runs(len(group))})" for method, group in with_energy.groupby("method")]
    missing = len(runs) - len(with_energy)
    known = f"Of the energy of whole runs, loading and warm-up included, {_listed(parts)}." if parts else ""
    lacking = f"The energy of {missing} of {_runs(len(runs))} is missing and is in no sum." if missing else ""
    return " ".join(part for part in (known, lacking) if part)


def _kwh(runs: pd.DataFrame) -> str:
    """Sum, with the sum of its bounds where every run has them: what is systematic does not average out."""
    total = _number(runs["energy_j"].sum() / JOULES_PER_KWH)
    bounds = runs[["low_j", "high_j"]]
    if bounds.isna().any(axis=None) or (bounds["low_j"] == bounds["high_j"]).all():
        return total
    low, high = bounds.sum() / JOULES_PER_KWH
    return f"{total} ({_number(low)} to {_number(high)})"


def _failed_sentence(runs: pd.DataFrame) -> str:
    failed = runs[runs["status"] != "ok"]
    if failed.empty:
        return "All of them ended with a result."
    counts = ", ".join(f"{count} {status}" for status, count in failed["status"].value_counts().sort_index().items())
    hours = _number(failed["hours"].sum())
    return f"This includes {_runs(len(failed))} without a result ({counts}), which took {hours} hours."


def _device_row(device: str, runs: pd.DataFrame) -> list[str]:
    with_energy = runs[runs["energy_j"].notna()]
    by_method = list(with_energy.groupby("method"))
    return [
        device,
        "; ".join(sorted(set(runs["memory"]))),
        str(len(runs)),
        str(int((runs["status"] != "ok").sum())),
        _number(runs["hours"].sum()),
        "" if runs["device_hours"].isna().any() else _number(runs["device_hours"].sum()),
        "; ".join(_kwh(group) for _, group in by_method),
        "; ".join(str(method) for method, _ in by_method),
        str(len(runs) - len(with_energy)),
    ]


def _run_row(run: pd.Series) -> list[str]:
    energy = "" if pd.isna(run["energy_j"]) else _number(run["energy_j"] / 1e3)
    return [run["run_id"], run["status"], _number(run["hours"] * 60), energy, run["method"]]


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def _number(value: float) -> str:
    """Three significant digits, and no exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{float(f'{value:.3g}'):.12f}".rstrip("0").rstrip(".")


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _escape_markdown(text: str) -> str:
    return "".join(f"\\{character}" if character in "\\`*_[]<>|#" else character for character in text)


def _markdown(headings: Mapping[str, float], rows: Rows) -> str:
    lines = [[*headings], ["---"] * len(headings), *([_escape_markdown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _latex(headings: Mapping[str, float], rows: Rows) -> str:
    """A table that breaks over pages, and its cells over lines."""
    body = [" & ".join(escape_latex(cell) for cell in row) + r" \\" for row in [[*headings], *rows]]
    columns = "".join(rf">{{\raggedright\arraybackslash}}p{{{width}\linewidth}}" for width in headings.values())
    opening = [r"{\scriptsize\setlength{\tabcolsep}{3pt}", rf"\begin{{longtable}}{{{columns}}}"]
    head = [r"\toprule", body[0], r"\midrule", r"\endhead"]
    return "\n".join([*opening, *head, *body[1:], r"\bottomrule", r"\end{longtable}}"])
