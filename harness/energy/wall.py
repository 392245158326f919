"""A wall meter: the whole node, from a CSV (timestamp, watts) that a logger appends to while the run goes on.

The meter's clock is compared with this machine's before the first window, and this machine's wall clock with its
monotonic one in every window: a log that is off by seconds would bill one phase for another.
"""

from __future__ import annotations

import csv
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from harness.energy.figure import EnergyFigure, Method, Sensor, unavailable
from harness.energy.source import SourceInfo
from harness.energy.trace import hold_energy_j

# The newest line of the log may be this much older than now, or newer, before its clock is called wrong.
MAX_OFFSET_S = 2.0
# A gap of more than this many of the log's periods is no reading.
MAX_GAP_PERIODS = 3
# A wall clock that moves by this much more or less than the monotonic one within a window was set.
MAX_STEP_S = 0.05


class WallMeter:
    """Energy source: the node, by its wall meter.

    Args:
        path: The log.
        accuracy: Relative accuracy of the meter.
        patience_s: How long to wait, after a window, for the log to reach its end.
    """

    def __init__(self, path: Path, accuracy: float, patience_s: float = 5.0) -> None:
        self._path = path
        self._patience_s = patience_s
        readings = read_log(path)
        if len(readings) < 2:
            raise LookupError(f"{path}: the log has one line yet, which does not tell its period")
        offset = time.time() - readings[-1][0]
        if abs(offset) > MAX_OFFSET_S:
            raise LookupError(
                f"{path}: its newest line is {offset:.1f} s from now: the logger has stopped, or its clock is off"
            )
        period = median(after - before for (before, _), (after, _) in pairwise(readings[-20:]))
        self._period_s = period
        source = f"wall meter, {path.name}"
        self._sensor = Sensor("node", source, "the whole node", accuracy, Method.WALL_METER, period)

    def describe(self) -> list[SourceInfo]:
        """The log and its period."""
        return [SourceInfo.of(self._sensor)]

    def begin(self) -> tuple[float, float]:
        """This machine's wall clock, and its monotonic one."""
        return time.time(), time.perf_counter()

    def end(self, state: tuple[float, float], duration_s: float) -> list[EnergyFigure]:
        """Power held from line to line; unavailable where the log has a gap, or the wall clock was set."""
        begin, steady = state
        end = begin + duration_s
        step = (time.time() - begin) - (time.perf_counter() - steady)
        if abs(step) > MAX_STEP_S:
            return [self._missing(f"the wall clock moved by {step:+.2f} s inside the window")]
        try:
            readings = self._wait_for(end)
        except LookupError as error:
            return [self._missing(str(error))]
        inside = [reading for reading in readings if reading[0] < end]
        joules = hold_energy_j([t for t, _ in inside], [w for _, w in inside], begin, end)
        if joules is None or joules <= 0 or inside[0][0] > begin:
            return [self._missing("the log does not cover the window")]
        gap = max(after - before for (before, _), (after, _) in pairwise(readings) if after > begin and before < end)
        if gap > MAX_GAP_PERIODS * self._period_s:
            return [self._missing(f"the log has a gap of {gap:.1f} s inside the window")]
        return [self._sensor.figure([joules], duration_s)]

    def _missing(self, reason: str) -> EnergyFigure:
        return unavailable("node", self._sensor.source, reason, "counter_lost")

    def _wait_for(self, moment: float) -> list[tuple[float, float]]:
        """The log, once it has a line at or after `moment`."""
        deadline = time.perf_counter() + self._patience_s
        while True:
            readings = read_log(self._path)
            if readings[-1][0] >= moment:
                return readings
            if time.perf_counter() > deadline:
                raise LookupError(f"the log ends {moment - readings[-1][0]:.1f} s before the window does")
            time.sleep(0.05)

    def close(self) -> None:
        """Nothing to release."""


def read_log(path: Path) -> list[tuple[float, float]]:
    """The log's lines as (Unix seconds, watts); an unfinished last line is left out.

    Raises:
        LookupError: If there is no such file, it has other columns, or a line cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LookupError(f"{path}: {error.strerror}") from error
    rows = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
    if not rows:
        raise LookupError(f"{path}: the log has no line yet")
    try:
        return [(_seconds(row["timestamp"]), float(row["watts"])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise LookupError(f"{path}: needs the columns timestamp,watts in every line ({error})") from error


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(f"{text} has no time zone") from None
        return moment.timestamp()
