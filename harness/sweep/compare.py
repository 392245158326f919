"""Two runs of one cell: which of their figures agree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from harness.energy.validity import EXCLUDED
from harness.errors import UserError
from harness.record.record import record_folders, record_in
from harness.stats.comparison import compare_means, holm, ratio_p
from harness.stats.intervals import Interval

LEVEL = 0.05
# Losses that differ by less than this share are one: sums in another order.
SAME_LOSS = 1e-4
# Two costs whose ratio is within this of 1, all of its 95 % interval included, are one: a difference that is only just
# there, and that no question turns on, is none.
EQUIVALENT = 0.02
# Quality that has no repeats: the metric, and what it is called.
QUALITY = {
    "perplexity": "perplexity",
    "pseudo_perplexity": "pseudo-perplexity",
    "bleu": "BLEU",
    "accuracy": "accuracy",
    "exact_match": "exact match",
    "rouge_l": "ROUGE-L",
    "pass_at_k": "pass@k",
}

Verdict = Literal["agree", "differ", "cannot say"]


@dataclass(frozen=True)
class Finding:
    """One figure of one cell in two runs.

    Attributes:
        cell: Run id.
        metric: What is compared, with its phase and unit.
        first, second: Its values.
        ratio: Second over first with its 95 % interval, where there are repeats.
        p: Of a test that they are one; None where a figure is compared by its interval, or cannot be.
        equivalent: Whether they are one whatever the test says, as they differ by too little.
        verdict: Whether they agree.
        why: How that was found.
    """

    cell: str
    metric: str
    first: float | None
    second: float | None
    verdict: Verdict
    why: str
    ratio: Interval | None = None
    p: float | None = None
    equivalent: bool = False


def compare_runs(first: Path, second: Path) -> list[Finding]:
    """Every figure that two run folders of one cell have in common.

    Raises:
        UserError: If one has no record.
    """
    before, after = record_in(first), record_in(second)
    cell = str(before["run_id"])
    if before["status"] != after["status"]:
        last = (after["reason"].strip().splitlines() or [""])[-1]
        words = f"{before['status']} before, {after['status']} after" + (f": {last}" if last else "")
        return [Finding(cell, "status", None, None, "differ", words)]
    findings = _efficiency(cell, first, second)
    findings += _training(cell, before.get("summary", {}), after.get("summary", {}))
    findings += _quality(cell, before["quality"], after["quality"], _paired(first, second))
    return findings


def compare_studies(first: Path, second: Path) -> tuple[list[Finding], list[str]]:
    """Every cell that two studies have in common, p values corrected for their number (Holm); and cells of one alone.

    Raises:
        UserError: If they have no cell in common.
    """
    sides = [_by_fingerprint(study) for study in (first, second)]
    common = [key for key in sides[0] if key in sides[1]]
    if not common:
        raise UserError(f"{first} and {second} have no cell in common", remedy="compare runs of the same configuration")
    pairs = ((first, sides[0], sides[1]), (second, sides[1], sides[0]))
    alone = [f"only in {study}: {side[key].name}" for study, side, other in pairs for key in side if key not in other]
    findings = [finding for key in common for finding in compare_runs(sides[0][key], sides[1][key])]
    return corrected(findings), alone


def corrected(findings: Sequence[Finding]) -> list[Finding]:
    """Findings whose p values are held to the level after Holm's correction."""
    tested = [finding for finding in findings if finding.p is not None]
    adjusted = iter(holm([finding.p for finding in tested if finding.p is not None]))
    result = []
    for finding in findings:
        if finding.p is not None:
            p = next(adjusted)
            verdict: Verdict = "differ" if p < LEVEL and not finding.equivalent else "agree"
            finding = replace(finding, p=p, verdict=verdict, why=f"{finding.why}, Holm-corrected p {p:.2g}")
        result.append(finding)
    return result


def _by_fingerprint(study: Path) -> dict[str, Path]:
    """Of a cell that several machines ran, the run that has the cell's plain name."""
    found: dict[str, Path] = {}
    for folder in record_folders(study):
        found.setdefault(str(record_in(folder)["fingerprint"]), folder)
    return found


def _efficiency(cell: str, first: Path, second: Path) -> list[Finding]:
    """Joules and seconds per token of every phase that was repeated, by Welch's test over its repeats."""
    sides = [_repeats(folder) for folder in (first, second)]
    findings = []
    for phase in sorted(set(sides[0]) & set(sides[1])):
        for column, unit in (("total_energy_j", "J/token"), ("duration_s", "s/token")):
            a, b = (side[phase][column] for side in sides)
            name = f"{phase}, {unit}"
            found = compare_means(a, b) if a and b else None
            if found is None:
                missing = "no energy" if not (a and b) else "fewer than two repeats"
                findings.append(Finding(cell, name, _mean(a), _mean(b), "cannot say", missing))
                continue
            equivalent = found.ratio.low >= 1 - EQUIVALENT and found.ratio.high <= 1 + EQUIVALENT
            verdict: Verdict = "differ" if found.p < LEVEL and not equivalent else "agree"
            why = f"Welch's test over {len(a)} and {len(b)} repeats, p {found.p:.2g}"
            if equivalent:
                why = f"equivalent: the ratio's interval is within {EQUIVALENT:.0%} of 1"
            findings.append(Finding(cell, name, _mean(a), _mean(b), verdict, why, found.ratio, found.p, equivalent))
    return findings


def _training(cell: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Finding]:
    """Steps and energy of a whole training: one figure a run, whose scatter only other seeds or runs tell."""
    first, second = (side.get("training", {}) for side in (before, after))
    if first.get("steps") is None or second.get("steps") is None:
        return []
    same = first["steps"] == second["steps"]
    word: Verdict = "agree" if same else "differ"
    why = "equal" if same else "not equal"
    findings = [Finding(cell, "training, steps", first["steps"], second["steps"], word, why)]
    for name, label in (("total_energy_j", "training, J"), ("energy_to_target_j", "training to the target, J")):
        a, b = first.get(name), second.get(name)
        if a is not None and b is not None:
            findings.append(Finding(cell, label, a, b, "cannot say", "one figure a run: no scatter is known"))
    return findings


def _repeats(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Joules and seconds per token of each repeat that counts, by phase; joules are empty where one is missing."""
    path = folder / "windows.parquet"
    windows = pd.read_parquet(path) if path.is_file() else pd.DataFrame()
    if windows.empty:
        return {}
    repeats = windows[windows["repeat"].notna()]
    if "flags" in repeats:  # An excluded part excludes its repeat.
        flagged = repeats["flags"].map(lambda flags: bool(EXCLUDED & set(str(flags or "").split(","))))
        repeats = repeats[~flagged.groupby([repeats["phase"], repeats["repeat"]]).transform("any")]
    measured = repeats[repeats["tokens"] > 0]
    columns = [name for name in measured if re.fullmatch(r"(total|gpu|cpu|dram|soc|node)_energy_j", str(name))]
    found = {}
    for phase, group in measured.groupby("phase"):
        by_repeat = group.groupby("repeat")
        sums = by_repeat[["total_energy_j", "duration_s", "tokens"]].sum(min_count=1)
        # A part without energy leaves its repeat without, and so does a component whose counter moved in no part.
        still = (by_repeat[columns].sum(min_count=1) <= 0).any(axis=1)
        lacking = group["total_energy_j"].isna().groupby(group["repeat"]).any() | still
        sums["total_energy_j"] = sums["total_energy_j"].mask(lacking)
        costs = {name: sums[name] / sums["tokens"] for name in ("total_energy_j", "duration_s")}
        found[str(phase)] = {name: [] if cost.isna().any() else list(map(float, cost)) for name, cost in costs.items()}
    return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class Paired:
    """Losses of one text, document by document, in two runs."""

    nats: float
    difference: float
    p: float | None


def _paired(first: Path, second: Path) -> Paired | None:
    paths = [folder / "likelihoods.parquet" for folder in (first, second)]
    if not all(path.is_file() for path in paths):
        return None
    a, b = map(pd.read_parquet, paths)
    if len(a) != len(b) or (a["tokens"] != b["tokens"]).any():
        return None
    difference = b["nats"] - a["nats"]
    return Paired(float(a["nats"].sum()), float(difference.sum()), ratio_p(list(difference), list(b["tokens"])))


def _quality(cell: str, before: Mapping[str, Any], after: Mapping[str, Any], paired: Paired | None) -> list[Finding]:
    findings = []
    for metric, name in QUALITY.items():
        a, b = before.get(metric), after.get(metric)
        if a is None or b is None:
            continue
        if metric == "perplexity" and paired is not None:
            findings.append(_by_document(cell, name, a, b, paired))
        else:
            findings.append(_by_interval(cell, name, metric, before, after))
    return findings


def _by_document(cell: str, name: str, a: float, b: float, paired: Paired) -> Finding:
    share = abs(paired.difference) / paired.nats if paired.nats else 0.0
    if share <= SAME_LOSS or paired.p is None:
        verdict: Verdict = "agree" if share <= SAME_LOSS else "differ"
        return Finding(cell, name, a, b, verdict, f"losses of the same documents differ by {share:.1e}")
    verdict = "differ" if paired.p < LEVEL else "agree"
    return Finding(cell, name, a, b, verdict, f"paired test over documents, p {paired.p:.2g}", p=paired.p)


def _by_interval(cell: str, name: str, metric: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Finding:
    a, b = before[metric], after[metric]
    if a == b:
        return Finding(cell, name, a, b, "agree", "equal")
    low, high, other_low, other_high = (
        side.get(f"{metric}_ci_{end}") for side in (before, after) for end in ("low", "high")
    )
    if low is None or high is None or other_low is None or other_high is None:
        return Finding(cell, name, a, b, "cannot say", "not equal, and without an interval")
    if low <= other_high and other_low <= high:
        return Finding(cell, name, a, b, "agree", "95 % intervals overlap")
    return Finding(cell, name, a, b, "differ", "95 % intervals do not overlap")
