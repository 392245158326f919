"""Sentences about where the energy figures of some runs come from. Every caption ends with one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd


def energy_sentence(runs: pd.DataFrame, records: Mapping[str, Mapping[str, Any]]) -> str:
    """How energy was obtained for these runs, in one or two sentences."""
    methods = sorted(set(runs["energy_method"].dropna()))
    if not methods or methods == ["unavailable"]:
        return "Energy was not available."
    devices = ", ".join(sorted(set(runs["device_name"].dropna())))
    if methods == ["modelled"]:
        return (
            f"Energy is modelled, not measured: CPU ({devices}), from this process's CPU time, TDP and two published "
            f"load curves. {_scale_sentence(runs)}"
        )
    if "modelled" in methods:
        return f"Energy on {devices}: {', '.join(methods)}; modelled and measured figures must not be ranked together."
    return f"Energy on {devices}: {', '.join(method.replace('_', ' ') for method in methods)} ({_components(runs)})."


def _scale_sentence(runs: pd.DataFrame) -> str:
    """How uncertain the common scale is, and that it cancels between cells."""
    low = (runs["joules_per_token_low"] / runs["joules_per_token"]).dropna()
    high = (runs["joules_per_token_high"] / runs["joules_per_token"]).dropna()
    if low.empty or high.empty:
        return ""
    return (
        f"Its absolute scale may be off by a factor of {low.min():.2g} to {high.max():.2g}, common to all cells of one "
        "machine; it cancels between cells that load the CPU alike."
    )


def _components(runs: pd.DataFrame) -> str:
    return " and ".join(sorted(set(runs["energy_components"].dropna())))


def protocol_sentence(runs: pd.DataFrame, repeats_column: str = "repeats") -> str:
    """Protocol and number of repeats."""
    repeats = runs[repeats_column].dropna().astype(int)
    if repeats.empty:
        return ""
    spread = f"{repeats.min()}" if repeats.min() == repeats.max() else f"{repeats.min()} to {repeats.max()}"
    return f"Protocol {_join(runs['protocol'])}, n = {spread} repeats a cell."


def _join(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values if isinstance(value, str)}))
