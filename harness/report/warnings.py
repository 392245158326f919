"""What a reader should doubt, each with what to do about it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from harness.record.environment import identity
from harness.report.collect import Collected
from harness.report.files import WINDOWS
from harness.report.run_details import flat
from harness.report.wording import flag_counts
from harness.stats.drift import unstable

# By reason code of a flag, and of an instability: what to do.
REMEDIES = {
    "contended_host": "close other programs, or measure at another time",
    "foreign_gpu_process": "keep other processes off the board",
    "throttled": "cool the machine, or lower its load before",
    "temperature_drift": "raise protocol.cooldown_s or protocol.warmup_s",
    "clock_drift": "fix the clocks, or raise protocol.warmup_s",
    "window_too_short": "raise protocol.window_s",
    "window_short_for_counter": "raise protocol.window_s",
    "counter_lost": "see the run's log: a counter failed or its permission went away",
    "counter_stuck": "raise protocol.window_s, or use another source (energy=)",
    "counter_jump": "measure again; a counter that jumps repeatedly is not to be used (energy=)",
    "trace_differs": "raise protocol.window_s",
    "trace_inconsistent": "do not use these figures before you know why counter and power disagree",
    "drift": "raise protocol.warmup_s or protocol.cooldown_s, or fix the clocks: the machine had not settled",
    "scatter": "use a quiet machine, longer windows (protocol.window_s) or more repeats (protocol.min_repeats)",
    "first_repeat": "raise protocol.warmup_iterations or protocol.warmup_s: the first repeat did what others need not",
    "outliers": "measure again on a quiet machine, without other programs",
}
# Each repeat of these is other work: other questions.
UNLIKE = {"answer"}
COLUMNS = ["phase", "repeat", "total_energy_j", "tokens"]
# Runs whose windows are looked at: reading them takes milliseconds each.
MOST = 1000


def warnings(collected: Collected) -> list[str]:
    """Records left out, unlike environments and methods, flags, and unstable repeats."""
    return [
        *(f"{folder} is left out: {reason}" for folder, reason in collected.left_out.items()),
        *_environments(collected),
        *_methods(collected.ok),
        *_untrained(collected),
        *_seeds(collected.runs),
        *_flags(collected.ok),
        *_instabilities(collected),
    ]


def _environments(collected: Collected) -> Iterator[str]:
    """Every key in which the environments of the runs differ; runs are not pooled over them."""
    seen = collected.runs.dropna(subset=["environment_fingerprint"]).drop_duplicates("environment_fingerprint")
    records = [collected.records[run_id] for run_id in seen["run_id"] if run_id in collected.records]
    told = [flat(identity(record.get("environment", {}))) for record in records]
    for key in sorted({key for each in told for key in each}):
        values = sorted({each.get(key, "not set") for each in told})
        if len(values) > 1:
            yield (
                f"The runs' environments differ in {key}: {', '.join(values)}. Ratios and marks are only within one "
                "environment."
            )


def _methods(ok: pd.DataFrame) -> Iterator[str]:
    methods = sorted(set(ok["energy_method"].dropna()) - {"unavailable"})
    if "modelled" in methods and len(methods) > 1:
        yield f"Energies are {', '.join(methods)}: modelled and measured figures must not be ranked together."


def _untrained(collected: Collected) -> Iterator[str]:
    """Runs of weights that nobody trained: what they cost is that of the architecture, and they have no quality."""
    own = [run_id for run_id in collected.ok["run_id"] if run_id in collected.records]
    random = [run_id for run_id in own if collected.records[run_id].get("model", {}).get("trained") is False]
    if random:
        remedy = "Remedy: task=train, or a checkpoint."
        yield f"Weights are random, so that quality means nothing: {_some(random)}. {remedy}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _seeds(runs: pd.DataFrame) -> Iterator[str]:
    """Cells of which only some seeds have a result: their means are of those that went well."""
    known = runs[runs["replicate_fingerprint"].notna()]
    for _, group in known.groupby(["study", "replicate_fingerprint"]):
        ok = group["status"] == "ok"
        if group["seed"].nunique() > 1 and ok.any() and not ok.all():
            lost = ", ".join(f"{run['run_id']} ({run['status']})" for _, run in group[~ok].iterrows())
            yield (
                f"Not all seeds of a cell have a result: without {lost}. Means are over the others, which may be the "
                "better ones."
            )


def _flags(ok: pd.DataFrame) -> Iterator[str]:
    for flag, count in flag_counts(ok):
        remedy = REMEDIES.get(flag)
        yield f"{count} of {len(ok)} runs are flagged {flag}.{f' Remedy: {remedy}.' if remedy else ''}"


def _instabilities(collected: Collected) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    looked_at = list(collected.ok["run_id"])[:MOST]
    for run_id in looked_at:
        for phase, costs in _costs(collected, run_id):
            for finding in unstable(costs):
                found.setdefault(finding.reason, []).append(f"{run_id}, {phase}: {finding.text}")
    beyond = f" (of the first {MOST} runs)" if len(collected.ok) > MOST else ""
    for reason, cases in found.items():
        more = f" (and {len(cases) - 3} more)" if len(cases) > 3 else ""
        told = f"{'; '.join(cases[:3])}{more}"
        yield f"Energy per token is unstable{beyond} ({reason}): {told}. Remedy: {REMEDIES[reason]}."


def _costs(collected: Collected, run_id: str) -> Iterator[tuple[str, list[float]]]:
    """Joules a token of each repeat, by phase, in order of time; only of phases whose repeats do the same work."""
    if not collected.files.has(run_id, WINDOWS):
        return
    windows = collected.files.read(run_id, WINDOWS, COLUMNS)
    if windows is None or list(windows.columns) != COLUMNS:
        return
    sums: dict[str, dict[float, list[float]]] = {}
    columns = (windows[name].to_numpy() for name in COLUMNS)
    for phase, repeat, joules, tokens in zip(*columns, strict=True):
        if phase not in UNLIKE and not pd.isna(repeat):
            total = sums.setdefault(phase, {}).setdefault(repeat, [0.0, 0.0])
            total[0] += math.nan if joules is None else joules
            total[1] += math.nan if tokens is None else tokens
    for phase, repeats in sums.items():
        costs = [joules / tokens if tokens else math.nan for joules, tokens in repeats.values()]
        if len(costs) > 1 and all(map(math.isfinite, costs)):
            yield phase, costs
