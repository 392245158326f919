"""`joulebench plan`: what a sweep would do and cost; it starts nothing and loads no weights."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.config.compose import compose_grid, launcher_of
from harness.config.fingerprint import run_id
from harness.stats.intervals import Interval
from harness.sweep.cells import environment_notes
from harness.sweep.plan import PlannedCell, plan, total

MOST = 5


def main(options: argparse.Namespace) -> int:
    """Print the plan; 0."""
    planned = plan(compose_grid(options.overrides), elsewhere=launcher_of(options.overrides) != "basic")
    if options.json:
        print(json.dumps([_as_json(one) for one in planned], indent=2))
        return 0
    pending = [one for one in planned if one.found.state == "pending" and not one.impossible]
    barred = [one for one in planned if one.found.state == "pending" and one.impossible]
    done = sum(one.found.state == "done" for one in planned)
    left = len(planned) - done - len(pending) - len(barred)
    print(f"{len(planned)} cells: {done} done, {len(pending)} pending, {len(barred)} impossible here"
          + (f", {left} failed before and left" if left else ""))  # fmt: skip
    for note in environment_notes([one.found for one in planned]):
        print(note)
    _print_totals(pending)
    _print_reasons(barred)
    return 0


def _print_totals(pending: Sequence[PlannedCell]) -> None:
    """Predicted time and energy of what is to be run, and what takes most of it."""
    if not pending:
        return
    for name, scale, unit in (("duration_s", 60.0, "min"), ("energy_j", 1000.0, "kJ")):
        sums, known = total([getattr(one, name) for one in pending])
        if not known:
            print(f"{name.split('_')[0]}: no prediction: nothing like these cells is finished here")
            continue
        missing = f"; {len(pending) - known} cells without a prediction" if known < len(pending) else ""
        print(f"{name.split('_')[0]}: {_shown(sums, scale, unit)}, predicted from finished cells{missing}")
    largest = sorted((one for one in pending if one.duration_s), key=lambda one: -_value(one))[:MOST]
    if len(pending) > 1:
        for one in largest:
            assert one.duration_s is not None, "filtered"
            print(f"  {_shown(one.duration_s, 60.0, 'min'):>28}  {run_id(one.found.cell.config)}")


def _value(one: PlannedCell) -> float:
    return 0.0 if one.duration_s is None else one.duration_s.value


def _shown(interval: Interval, scale: float, unit: str) -> str:
    value, low, high = (number / scale for number in (interval.value, interval.low, interval.high))
    return f"{value:.3g} {unit} ({low:.2g} to {high:.2g})"


def _print_reasons(barred: Sequence[PlannedCell]) -> None:
    """Each reason with how many cells it bars."""
    for reason, count in Counter(one.impossible for one in barred).most_common():
        print(f"impossible: {count} cells: {reason}")


def _as_json(one: PlannedCell) -> dict[str, Any]:
    return {
        "run_id": run_id(one.found.cell.config),
        "overrides": list(one.found.cell.overrides),
        "state": "impossible" if one.impossible and one.found.state == "pending" else one.found.state,
        "why": one.impossible or one.found.why,
        "duration_s": None if one.duration_s is None else vars(one.duration_s),
        "energy_j": None if one.energy_j is None else vars(one.energy_j),
    }
