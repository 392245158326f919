"""Distributions of latencies: the share of requests that were answered within a time, from raw values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from harness.errors import UserError
from harness.report.files import REQUESTS, RunFiles
from harness.report.kinds.kind import Kind, one_run
from harness.report.look import log_axis, series
from harness.report.spec import FigureSpec

Array = npt.NDArray[np.float64]

FIRST, NEXT = "time_to_first_token_s", "inter_token_latencies_s"
MILLI = 1e3

# What x may be: what it is called, and a request's values from its time to the first token and those between tokens.
LATENCIES: dict[str, tuple[str, Callable[[float, Array], Array]]] = {
    "time_to_first_token_s": ("Time to first token", lambda first, between: np.array([first])),
    "time_per_output_token_s": ("Time per output token", lambda first, between: np.atleast_1d(between.mean())),
    "inter_token_latency_s": ("Inter-token latency", lambda first, between: between),
    "request_latency_s": ("Request latency", lambda first, between: np.array([first + between.sum()])),
}


def _draw(axes: Axes, spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> None:
    for label, look, group in series(spec, runs):
        values = np.sort(np.concatenate([values_of(files, run_id, spec.x) for run_id in group["run_id"]])) * MILLI
        shares = np.arange(1, len(values) + 1) / len(values)
        every = max(1, len(values) // 8)
        style = {**look, "drawstyle": "steps-post", "markevery": every, "markersize": 3}
        axes.plot(values, shares * 100, label=label, **style)
    log_axis(axes, "x")
    axes.set_ylim(0, 101)


def values_of(files: RunFiles, run_id: str, latency: str) -> Array:
    """Every raw value of a latency, in seconds: one a batch of requests, or one a token after the first."""
    requests = files.read(run_id, REQUESTS, [FIRST, NEXT])
    assert requests is not None, "shown says that it is there"
    _, values = LATENCIES[latency]
    pairs = zip(requests[FIRST], requests[NEXT], strict=True)
    several = [(float(first), np.asarray(between, dtype=float)) for first, between in pairs]
    needs_two = latency in ("time_per_output_token_s", "inter_token_latency_s")
    found = [values(first, between) for first, between in several if len(between) or not needs_two]
    return np.concatenate([np.empty(0), *found])


def _shown(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> pd.Series:
    if spec.x not in LATENCIES:
        raise UserError(f"figure {spec.name}: x={spec.x}", allowed=LATENCIES)
    able = [files.has(run_id, REQUESTS) and len(values_of(files, run_id, spec.x)) > 0 for run_id in runs["run_id"]]
    return pd.Series(able, index=runs.index, dtype=bool)


def _caption(spec: FigureSpec, runs: pd.DataFrame, files: RunFiles) -> str:
    count = sum(len(values_of(files, run_id, spec.x)) for run_id in runs["run_id"])
    return f"{LATENCIES[spec.x][0]}: share of raw values that are at most so long; {count} values in all."


def _name_axes(axes: Axes, spec: FigureSpec) -> None:
    axes.set_xlabel(f"{LATENCIES[spec.x][0]} (ms)")
    axes.set_ylabel("Share of values (%)")


DISTRIBUTION = Kind(_draw, _shown, one_run, _caption, columns=(), name_axes=_name_axes, of_means=False)
