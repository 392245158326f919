"""What a study's data say, in sentences that are computed from them: the first thing a reader sees."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pandas as pd

from harness.metrics.registry import BY_NAME, METRICS, Metric
from harness.report.collect import Collected
from harness.report.columns import format_value, in_words
from harness.report.derive import COMPARABLE
from harness.report.marks import SAME_QUESTION, marked
from harness.report.seeds import is_over_seeds
from harness.report.wording import seeds_phrase
from harness.stats.break_even import break_even
from harness.stats.intervals import Interval

# Quality by which runs of one task are told apart: the first that two runs have.
QUALITY = (
    "accuracy",
    "pass_at_k",
    "exact_match",
    "bleu",
    "bits_per_byte",
    "perplexity",
    "pseudo_perplexity",
    "rouge_l",
)
# Energy for one unit of the work: the first that two runs have.
ENERGY = ("joules_per_answer", "train_energy_j", "joules_per_output_token", "score_joules_per_byte", "joules_per_token")
# What is the same for a run and the one that it is held against when something was paid beforehand.
SAME_CELL = [*COMPARABLE, "model", "batch_size", "seed", "hardware"]
# A teacher is another model; the rest is the same.
SAME_TEXT_AND_MACHINE = [*SAME_QUESTION, "device_name", "environment_fingerprint"]
# Nats a token: 1 % of perplexity.
MARGIN = 0.01
# What costs less than so many tokens needs no break-even.
TRIFLE = 10
# Sentences of one kind.
MOST = 20
# By which a run is named, where they differ.
AXES = ("model", "precision", "batch_size", "compression", "backend", "distillation_weight", "token_budget", "seed")


def findings(collected: Collected, margin: float = MARGIN) -> list[str]:
    """Sentences on totals, the cheapest and the best cells of each question, and what pays after how much work.

    Args:
        collected: All runs. Cells that were run with several seeds are held against each other by their means.
        margin: Nats a token by which a run may be worse than the same model in fp32 and still count as good.
    """
    ok, means = collected.ok, collected.means
    parts = (_best(means), _non_inferior(means, margin), _break_evens(means), _students(ok))
    return [totals(collected.runs), *(sentence for part in parts for sentence in _some(part))]


def _some(sentences: Iterator[str]) -> list[str]:
    """The first of many; how many more there are would be read by nobody."""
    return list(islice(sentences, MOST))


def totals(runs: pd.DataFrame) -> str:
    """Runs by status, hours and energy of all of them, those that failed included."""
    counts = runs["status"].value_counts()
    others = ", ".join(f"{count} {status}" for status, count in counts.items() if status != "ok")
    durations = runs["duration_s"].astype(float).dropna()
    known = runs["run_energy_j"].astype(float).dropna()
    timed = f" (of {len(durations)})" if len(durations) < len(runs) else " in all"
    hours = f"{durations.sum() / 3600:.2g} hours{timed}" if len(durations) else "unknown hours"
    told = f"{len(runs)} runs{f' ({others})' if others else ''}, {hours}"
    if known.empty:
        return f"{told}; the energy of whole runs is not in these records."
    by_method = runs.dropna(subset=["run_energy_j"]).groupby(runs["run_energy_method"].fillna("unknown"))
    sums = [
        f"{_si(float(own.astype(float).sum()), 'J')} ({str(method).replace('_', ' ')})"
        for method, own in by_method["run_energy_j"]
    ]
    missing = f"; of {len(runs) - len(known)} it is not known" if len(known) < len(runs) else ""
    failed = runs[runs["status"] != "ok"]["run_energy_j"].astype(float).sum()
    lost = f", {_si(failed, 'J')} of them in runs without a result" if failed else ""
    return f"{told}, {' and '.join(sums)}{lost}{missing}."


def _si(value: float, unit: str) -> str:
    for factor, prefix in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def _best(ok: pd.DataFrame) -> Iterator[str]:
    """Of each question the cheapest run, the best, and the cheapest that cannot be told from the best."""
    for question, group in _questions(ok):
        quality, energy = _first(group, QUALITY), _first(group, ENERGY)
        if energy is None:
            continue
        known = group[group[energy.name].astype(float) > 0].sort_values(energy.name, kind="stable")
        both = known if quality is None else known.dropna(subset=[quality.name])
        if quality is not None and len(both) > 1 and both[quality.name].nunique() > 1:
            yield f"{question}: {_answer(both, quality, energy)}"
        elif len(known) > 1:
            yield f"{question}: {_range(known, energy)}"


def _questions(ok: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Runs that may be held against each other, with what tells one such group from the next."""
    groups = list(ok.groupby(COMPARABLE, dropna=False))
    for key, group in groups:
        others = pd.DataFrame([other for other, _ in groups if other[:2] == key[:2]], columns=COMPARABLE)
        telling = [name for name in COMPARABLE[2:] if others[name].nunique(dropna=False) > 1]
        told = [in_words(BY_NAME[name], group[name].iloc[0])[:24] for name in telling]
        data = key[1] if isinstance(key[1], str) else "unknown data"
        seeds = [f"means over {seeds_phrase(group)}"] * is_over_seeds(group)
        yield f"{key[0]} ({', '.join([str(data), *told, *seeds])})", group


def _range(runs: pd.DataFrame, energy: Metric) -> str:
    cheap, dear = runs.iloc[0], runs.iloc[-1]
    ratio = float(dear[energy.name]) / float(cheap[energy.name])
    return (
        f"the cheapest is {_name(cheap, runs)} ({_at(cheap, energy)}), the dearest {_name(dear, runs)}, at {ratio:.3g} "
        "times its energy."
    )


def _answer(runs: pd.DataFrame, quality: Metric, energy: Metric) -> str:
    """Of runs in the order of their energy: the cheapest, the best, and the cheapest that cannot be told from it."""
    best = runs.sort_values(quality.name, ascending=quality.better == "lower", kind="stable").iloc[0]
    equal = runs[marked(runs, quality)]
    cheap, good = runs.iloc[0], best if equal.empty else equal.iloc[0]
    names = {str(run["run_id"]): _name(run, runs) for run in (cheap, best, good)}
    cheapest, finest, enough = (names[str(run["run_id"])] for run in (cheap, best, good))
    if good["run_id"] == cheap["run_id"]:
        if best["run_id"] == cheap["run_id"]:
            others = len(equal) - 1
            doubt = f"; {others} of the others cannot be told from it in that" if others > 0 else ""
            return (
                f"{cheapest} is both the cheapest ({_at(cheap, energy)}) and the best ({_at(cheap, quality)}){doubt}."
            )
        told = f"its {_at(cheap, quality)} cannot be told from the best, {finest} ({_at(best, quality)})"
        return f"the cheapest is {cheapest} ({_at(cheap, energy)}); {told}."
    ratio = float(good[energy.name]) / float(cheap[energy.name])
    text = f"the cheapest is {cheapest} ({_at(cheap, energy)}, {_at(cheap, quality)}). "
    text += f"The best is {finest} ({_at(best, quality)})"
    if good["run_id"] != best["run_id"]:
        text += f"; the cheapest that cannot be told from it is {enough} ({_at(good, quality)})"
    return f"{text}, at {ratio:.3g} times the energy of the cheapest."


def _first(group: pd.DataFrame, names: tuple[str, ...]) -> Metric | None:
    return next((BY_NAME[name] for name in names if group[name].notna().sum() > 1), None)


def _at(run: pd.Series, metric: Metric) -> str:
    value = format_value(float(run[metric.name]), metric)
    low, high = (run.get(f"{metric.name}_ci_{end}") for end in ("low", "high"))
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return f"{metric.phrase} {value}{f' {metric.unit}' if metric.unit else ''}"
    # Student's t may reach below 0, which neither an energy nor a quality does.
    ends = " to ".join(format_value(max(0.0, float(end)), metric) for end in (low, high))
    return f"{metric.phrase} {value} [{ends}]{f' {metric.unit}' if metric.unit else ''}"


def _name(run: pd.Series, among: pd.DataFrame) -> str:
    """A run by the axes that differ."""
    varying = [axis for axis in AXES if among[axis].nunique(dropna=False) > 1]
    told = [in_words(BY_NAME[axis], run[axis]) for axis in varying if not pd.isna(run[axis]) and run[axis] != "none"]
    name = ", ".join(told) or ("as it is" if varying else str(run["model"]))
    alike = (among[varying].fillna("") == run[varying].fillna("")).all(axis=1).sum() if varying else len(among)
    return name if alike <= 1 else f"{name} ({str(run['run_id'])[-8:]})"


def _non_inferior(ok: pd.DataFrame, margin: float) -> Iterator[str]:
    """Which runs are not worse than fp32 by the margin or more: the upper end of the paired 95 % interval is below it.

    That is a one-sided test at 2.5 % (as harness.stats.comparison.non_inferiority), by the bootstrap over documents.
    """
    for question, group in _questions(ok):
        known = group.dropna(subset=["cross_entropy_difference_ci_high"])
        # The reference itself differs by nothing.
        others = known[(known["cross_entropy_difference"] != 0) | (known["precision"] != "fp32")]
        if others.empty:
            continue
        good = others[others["cross_entropy_difference_ci_high"].astype(float) < margin]
        names = "; ".join(_name(run, known) for _, run in good.iterrows()) or "none"
        yield (
            f"{question}: shown to be less than {margin:g} nats a token worse than fp32 (non-inferior, 95 %): {names}, "
            f"of {len(others)} runs."
        )


def _break_evens(ok: pd.DataFrame) -> Iterator[str]:
    """After how many tokens compiling, quantising or pruning has paid, against PyTorch as it is."""
    metric = BY_NAME["joules_per_token"]
    known = ok.dropna(subset=[metric.name, metric.error])
    paid = known[["compile_energy_j", "compress_energy_j"]].astype(float).sum(axis=1, min_count=1)
    for _, group in known.assign(paid=paid).groupby(SAME_CELL, dropna=False):
        for _, run in group[group["paid"] > 0].iterrows():
            base, once = _plain_run(group[group["paid"].isna()], run), float(run["paid"])
            if base is None or once < TRIFLE * float(base[metric.name]):
                continue
            saved = _saved(*(_per_token(each, metric.name, metric.error) for each in (base, run)))
            found = break_even(Interval(once, once, once), saved, "tokens")
            names = " against ".join(_name(each, group) for each in (run, base))
            cost = f"its {_si(once, 'J')} beforehand, measured once"
            yield f"{run['task']} ({run['data']}): {names}: {cost}: {found.text}."


def _plain_run(unpaid: pd.DataFrame, run: pd.Series) -> pd.Series | None:
    """The same cell in eager PyTorch and whole: in the same precision, or else the cheapest that there is."""
    plain = unpaid[unpaid["backend"].isin(["eager", None]) & unpaid["compression"].isin(["none", None])]
    if plain.empty:
        return None
    same = plain[plain["precision"] == run["precision"]]
    return (plain if same.empty else same).sort_values("joules_per_token", kind="stable").iloc[0]


def _per_token(run: pd.Series, column: str, error: str) -> Interval:
    """Random error only: the scale is common to both runs and cancels."""
    value, half = float(run[column]), float(run[error])
    return Interval(value, value * (1 - half), value * (1 + half))


def _saved(before: Interval, after: Interval) -> Interval:
    """The difference of two independent figures, half-widths in quadrature."""
    half = ((before.high - before.value) ** 2 + (after.high - after.value) ** 2) ** 0.5
    value = before.value - after.value
    return Interval(value, value - half, value + half)


def _students(ok: pd.DataFrame) -> Iterator[str]:
    """After how many scored tokens a student's training has paid, against asking its teacher."""
    needed = ["score_joules_per_token", "score_relative_half_width", "train_energy_j"]
    for _, run in ok[ok["teacher"].notna()].dropna(subset=needed).iterrows():
        same = (ok[SAME_TEXT_AND_MACHINE].fillna("") == run[SAME_TEXT_AND_MACHINE].fillna("")).all(axis=1)
        teachers = ok[same & (ok["run_id"] == run["teacher"])].dropna(subset=needed[:2])
        if teachers.empty:
            continue
        teacher, once = teachers.iloc[0], float(run["train_energy_j"])
        saved = _saved(*(_per_token(each, needed[0], needed[1]) for each in (teacher, run)))
        found = break_even(Interval(once, once, once), saved, "scored tokens")
        names = " instead of its teacher ".join(_name(each, ok) for each in (run, teacher))
        quality = _first(pd.DataFrame([run, teacher]), QUALITY)
        price = "" if quality is None else f" ({_at(run, quality)} instead of {_at(teacher, quality)})"
        yield f"{names}{price}, for its own training's {_si(once, 'J')}: {found.text}."


def glossary(runs: pd.DataFrame) -> list[Metric]:
    """The metrics that some run has, in the registry's order."""
    return [metric for metric in METRICS if runs[metric.name].notna().any()]
