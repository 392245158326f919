"""Sentences about where the energy figures of some runs come from. Every caption ends with one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

# Mean powers within this ratio are one.
STEADY = 1.1
# Origin of a row that this program measured.
OWN = "joulebench"


def energy_sentence(runs: pd.DataFrame) -> str:
    """How energy was obtained for these runs, in one to three sentences."""
    # A training too short for a repeat has the energy of the whole run.
    runs = runs.assign(energy_method=runs["energy_method"].fillna(runs["run_energy_method"]))
    known = runs[runs["energy_method"].notna() & (runs["energy_method"] != "unavailable")]
    if known.empty:
        return "Energy was not available."
    own, imported = known[known["origin"] == OWN], known[known["origin"] != OWN]
    sentences = [_own(own) if len(own) else "", _imported(imported) if len(imported) else ""]
    if known["energy_method"].isin(["modelled"]).nunique() > 1:
        sentences.append("Modelled and measured figures must not be ranked together.")
    return " ".join(sentence for sentence in sentences if sentence)


def energy_label(runs: pd.DataFrame) -> str:
    """How energy was obtained, in a word or two."""
    methods = sorted(set(runs["energy_method"].dropna()))
    return ", ".join("modelled, not measured" if each == "modelled" else each.replace("_", " ") for each in methods)


def _own(runs: pd.DataFrame) -> str:
    devices = _join(runs["device_name"])
    methods = sorted(set(runs["energy_method"]))
    if methods == ["modelled"] and set(runs["energy_components"].dropna()) - {"cpu"}:
        return f"Energy on {devices} is a sum ({_components(runs)}) of which the CPU is modelled and not measured."
    if methods == ["modelled"]:
        return (
            f"Energy is modelled, not measured: CPU ({devices}), from this process's CPU time, TDP and two published "
            f"load curves. {_scale_sentence(runs)}"
        )
    return f"Energy on {devices}: {', '.join(methods).replace('_', ' ')} ({_components(runs)})."


def _imported(runs: pd.DataFrame) -> str:
    methods = ", ".join(sorted(set(runs["energy_method"]))).replace("_", " ")
    return f"Imported energy ({_join(runs['origin'])}): {methods} ({_components(runs)})."


def _scale_sentence(runs: pd.DataFrame) -> str:
    """How uncertain the common scale is, and that it cancels between cells."""
    low = (runs["joules_per_token_low"] / runs["joules_per_token"]).dropna()
    high = (runs["joules_per_token_high"] / runs["joules_per_token"]).dropna()
    if low.empty or high.empty:
        return ""
    watts = runs["mean_power_w"].astype(float)
    steady = watts.max() < STEADY * watts.min()
    told = f" Mean power was {watts.min():.3g} to {watts.max():.3g} W in all runs: ratios of energy are ratios of time."
    return (
        f"Its absolute scale may be off by a factor of {low.min():.2g} to {high.max():.2g}, common to all cells of one "
        f"machine; it cancels between cells that load the CPU alike.{told if steady else ''}"
    )


def _components(runs: pd.DataFrame) -> str:
    return " and ".join(sorted(set(runs["energy_components"].dropna())))


def flag_counts(runs: pd.DataFrame) -> list[tuple[str, int]]:
    """How many runs have each reason code of doubt, the most frequent first."""
    counts = Counter(flag for flags in runs["flags"].dropna() for flag in str(flags).split(", ") if flag)
    return counts.most_common()


def flags_sentence(runs: pd.DataFrame) -> str:
    """Doubts about the main phase's windows, and how many rows have them; empty where there are none."""
    told = [f"{flag} ({count} of {len(runs)} rows)" for flag, count in flag_counts(runs)]
    return f"Flagged: {', '.join(told)}." if told else ""


def protocol_sentence(runs: pd.DataFrame, repeats_column: str = "repeats") -> str:
    """Protocol and number of repeats."""
    repeats = runs[repeats_column].dropna().astype(int)
    if repeats.empty:
        return ""
    spread = f"{repeats.min()}" if repeats.min() == repeats.max() else f"{repeats.min()} to {repeats.max()}"
    return f"Protocol {_join(runs['protocol'])}, n = {spread} measured windows a run{_seeds(runs)}."


def _seeds(runs: pd.DataFrame) -> str:
    """That intervals do not hold what another seed would give, where there is one."""
    one = runs["seed"].nunique() == 1 and not runs["seed"].isna().any()  # a mean over seeds has none
    return ", one seed" if one else ""


def seeds_phrase(runs: pd.DataFrame) -> str:
    """How many seeds the means of some rows are over."""
    counts = runs["seeds"][runs["seeds"] > 1].astype(int)
    low, high = counts.min(), counts.max()
    return f"{low} seeds" if low == high else f"{low} to {high} seeds"


def _join(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values if isinstance(value, str)}))
