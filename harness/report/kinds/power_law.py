"""Points on logarithmic axes, a fit through each series, and a published exponent beside it."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from harness.metrics.registry import BY_NAME
from harness.report.files import RunFiles
from harness.report.kinds.kind import Kind, y_against_x
from harness.report.look import log_axis, series, y_bars
from harness.report.spec import FigureSpec
from harness.stats.intervals import Interval
from harness.stats.power_law import PowerLaw, fit_power_law
from harness.stats.saturating import Saturating, fit_saturating

FIT = {"power": fit_power_law, "saturating": fit_saturating}


def fit_of(spec: FigureSpec, runs: pd.DataFrame) -> PowerLaw | Saturating | None:
    """The curve through some runs, in the units of runs.csv; None where they do not identify one."""
    fit: PowerLaw | Saturating | None = FIT[spec.fit](
        [float(value) for value in runs[spec.x]], [float(value) for value in runs[spec.y]]
    )
    return fit


def _draw(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> None:
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    for label, look, group in series(spec, runs):
        ordered = group.sort_values(x.name)
        at, law = ordered[x.name] * x.scale, fit_of(spec, group)
        bars = y_bars(spec, ordered, y)
        axes.errorbar(at, ordered[y.name] * y.scale, yerr=bars, label=label, **{**look, "linestyle": "none"})
        if law is not None:
            axes.plot(at, [law.at(value) * y.scale for value in ordered[x.name]], color=look["color"], lw=0.8)
        if law is not None and spec.reference_exponent is not None:
            first = ordered.iloc[0]
            steps = (ordered[x.name] / first[x.name]) ** spec.reference_exponent
            axes.plot(at, first[y.name] * y.scale * steps, color=look["color"], lw=0.6, ls=":")
    log_axis(axes, "x")
    log_axis(axes, "y")


def exponent_of(law: PowerLaw | Saturating) -> Interval:
    """The exponent with its 95 % interval."""
    if isinstance(law, Saturating):
        return law.exponent
    return Interval(law.exponent, law.exponent_low, law.exponent_high)


def _caption(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    fits = [(label, fit_of(spec, group)) for label, _, group in series(spec, runs)]
    found = [f"{label}: {_words(spec, law)}" for label, law in fits if law is not None]
    reference = f" Dotted: {spec.reference} ({spec.reference_exponent:g})." if spec.reference_exponent else ""
    fitted = f" Exponents with 95 % intervals of the fits: {'; '.join(found)}.{reference}" if found else ""
    return y_against_x(spec, runs, files) + fitted


def _words(spec: FigureSpec, law: PowerLaw | Saturating) -> str:
    exponent = exponent_of(law)
    text = f"{exponent.value:.3f} ({exponent.low:.3f} to {exponent.high:.3f})"
    if isinstance(law, Saturating):
        scale = BY_NAME[spec.y].scale
        ends = [law.floor.value * scale, law.floor.low * scale, law.floor.high * scale]
        text += ", floor {:.3g} ({:.3g} to {:.3g})".format(*ends)
    return text


POWER_LAW = Kind(_draw, caption=_caption, points=True)
