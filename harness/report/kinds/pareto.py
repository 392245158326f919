"""Points of two quantities, and the front of those that nothing beats, with how sure that is."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from harness.metrics.registry import BY_NAME, Metric
from harness.report.columns import in_words
from harness.report.files import RunFiles
from harness.report.kinds.kind import Kind, two_points, y_against_x
from harness.report.look import alike, log_axis, plain, series, write_labels, x_bars, y_bars
from harness.report.marks import PER_TOKEN
from harness.report.seeds import is_over_seeds
from harness.report.spec import FigureSpec
from harness.stats.pareto import front_probability, pareto_front

# More points than this are drawn without probabilities, which would take minutes.
MANY = 500
# The linear part of an axis that has a zero; half-width of a 95 % interval in standard errors.
LINEAR, NORMAL_95 = 0.01, 1.96
SYMLOG = f"The vertical axis is linear within {LINEAR:g} of 0 and logarithmic beyond."
# A point that is on the front in fewer draws than this is not named; and of many points, only so many.
NAMED, NAMES = 0.05, 6


def _draw(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> None:
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    for label, look, group in series(spec, runs):
        axes.errorbar(
            group[x.name] * x.scale,
            group[y.name] * y.scale,
            xerr=x_bars(spec, group, x),
            yerr=y_bars(spec, group, y),
            label=label,
            zorder=3,
            **{**look, "linestyle": "none"},
        )
        write_labels(axes, spec, group, x, y, look["color"])
    front = front_of(spec, runs)
    if len(front) > 1:
        steps = (front[x.name] * x.scale, front[y.name] * y.scale)
        axes.step(*steps, where="post", color="black", lw=0.8, label="Pareto front")
    log_axis(axes, "x")
    _quality_axis(axes, y, runs)


def _quality_axis(axes: Axes, y: Metric, runs: pd.DataFrame) -> None:
    if y.better == "lower" and (runs[y.name] <= 0).any():
        axes.set_yscale("symlog", linthresh=LINEAR)  # Zero, and what is near it, has a place too.
        axes.axhline(0, color="#777777", lw=0.5, zorder=1)
        axes.margins(y=0.12)
        axes.yaxis.set_major_formatter(FuncFormatter(plain))
    elif y.better == "lower":
        log_axis(axes, "y")
    else:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.06)


def front_of(spec: FigureSpec, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that no other beats; none where runs are unlike, as those are not ranked together."""
    if not comparable(spec, runs):
        return runs.iloc[:0]
    x, y = _signs(spec)
    return runs.iloc[pareto_front(list(zip(x * runs[spec.x], y * runs[spec.y], strict=True)))]


def comparable(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    """Whether a front may be drawn through the runs; losses of a token only with one tokenizer."""
    one_tokenizer = not {spec.x, spec.y} & PER_TOKEN or runs["tokenizer"].nunique() <= 1
    return alike(runs) and one_tokenizer


def probabilities(spec: FigureSpec, runs: pd.DataFrame) -> dict[str, float]:
    """How probable it is that each run is on the front, by run id; empty where the random error of any is unknown.

    Means are drawn from normal distributions with the standard errors that the bars show.
    """
    errors = spec.x_error or spec.y_error or spec.y_interval or is_over_seeds(runs)
    if len(runs) > MANY or front_of(spec, runs).empty or not errors:
        return {}
    signs, x, y = _signs(spec), BY_NAME[spec.x], BY_NAME[spec.y]
    wide = _half_widths(x_bars(spec, runs, x), x, runs)
    high = _half_widths(y_bars(spec, runs, y), y, runs)
    if any(math.isnan(width) for width in (*wide, *high)):
        return {}
    points = [
        ((signs[0] * float(a), error / NORMAL_95), (signs[1] * float(b), other / NORMAL_95))
        for a, error, b, other in zip(runs[x.name], wide, runs[y.name], high, strict=True)
    ]
    return dict(zip(runs["run_id"], front_probability(points, seed=0), strict=True))


def _half_widths(drawn: Any, metric: Metric, runs: pd.DataFrame) -> list[float]:
    """Half-widths of bars in the stored unit; of unequal sides their mean."""
    if drawn is None:
        return [0.0] * len(runs)
    mean = (drawn[0] + drawn[1]) / 2 if isinstance(drawn, list) else drawn
    return [float(width) / metric.scale for width in mean]


def _signs(spec: FigureSpec) -> tuple[int, int]:
    """What makes both axes better when they are smaller."""
    return tuple(-1 if BY_NAME[name].better == "higher" else 1 for name in (spec.x, spec.y))  # type: ignore[return-value]


def _enough(spec: FigureSpec, runs: pd.DataFrame) -> bool:
    """Two runs that differ in both: where all are equally good there is nothing to trade."""
    return two_points(spec, runs) and min(runs[spec.x].nunique(), runs[spec.y].nunique()) > 1


def _caption(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    sure = {run_id: chance for run_id, chance in probabilities(spec, runs).items() if chance >= NAMED}
    names = {
        str(run["run_id"]): label
        if len(group) == 1
        else f"{label}, {in_words(BY_NAME['batch_size'], run['batch_size'])}"
        for label, _, group in series(spec, runs)
        for _, run in (group.iterrows() if sure else ())
    }
    doubted = [f"{names[run_id]} {chance:.2f}" for run_id, chance in sure.items() if chance < 1 - NAMED]
    more = f" and {len(doubted) - NAMES} others" if len(doubted) > NAMES else ""
    unlike = "No front is drawn: the runs differ in text, tokenizer, machine, or in how energy was obtained."
    sentences = [
        y_against_x(spec, runs, files),
        SYMLOG if BY_NAME[spec.y].better == "lower" and (runs[spec.y] <= 0).any() else "",
        "" if comparable(spec, runs) else unlike,
        f"Probability of being on the front, where it is in doubt: {'; '.join(doubted[:NAMES])}{more}."
        if doubted
        else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


PARETO = Kind(_draw, enough=_enough, caption=_caption, points=True)
