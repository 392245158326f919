"""One line a series, such as energy per token against batch size."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from harness.metrics.registry import BY_NAME
from harness.report.files import RunFiles
from harness.report.kinds.kind import Kind, two_places
from harness.report.look import plain, series, write_labels, y_bars
from harness.report.spec import FigureSpec


def _draw(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> None:
    x, y = BY_NAME[spec.x], BY_NAME[spec.y]
    for label, look, group in series(spec, runs):
        ordered = group.sort_values(x.name)
        axes.errorbar(
            ordered[x.name] * x.scale, ordered[y.name] * y.scale, yerr=y_bars(spec, ordered, y), label=label, **look
        )
        write_labels(axes, spec, ordered, x, y, look["color"])
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(set(runs[x.name] * x.scale)))
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=0)


LINES = Kind(_draw, enough=two_places, points=True)
