import time
from datetime import UTC, datetime

import pytest

from harness.config.compose import compose_cell
from harness.energy.choose import open_sources
from harness.energy.meter import EnergyMeter
from harness.energy.wall import WallMeter, read_log
from tests.simulate import VirtualClock


def log(path, *rows, header="timestamp,watts"):
    path.write_text("\n".join([header, *[f"{moment},{watts}" for moment, watts in rows]]) + "\n")
    return path


def now_is(monkeypatch, *moments, set_by=0.0):
    """The wall clock shows these moments, one a look; before the last one it is set by some seconds."""
    steady = VirtualClock.install(monkeypatch)
    left = list(moments)

    def look():
        moment = left.pop(0)
        steady.now = moment - (0 if left else set_by)
        return moment

    monkeypatch.setattr(time, "time", look)


def test_the_log_is_integrated_over_the_window(tmp_path, monkeypatch):
    path = log(tmp_path / "w.csv", *[(1000 + i, 100 + 10 * i) for i in range(6)])
    now_is(monkeypatch, 1005.5, 1001.5, 1004.5)
    meter = WallMeter(path, accuracy=0.02)
    [figure] = meter.end(meter.begin(), 3.0)
    joules = 0.5 * 110 + 120 + 130 + 0.5 * 140
    assert figure.value_j == pytest.approx(joules)
    edge = joules * 1.0 / 3.0 / 1.96  # one line of the log, at the mean power, is the half-width
    assert figure.low_j == pytest.approx(joules * 0.98 - 1.96 * edge)
    assert figure.method == "wall_meter"
    assert figure.component == "node"


@pytest.mark.parametrize("silent", [range(1002, 1004), range(990, 1010)])
def test_a_gap_in_the_log_is_no_reading(tmp_path, monkeypatch, silent):
    path = log(tmp_path / "w.csv", *[(980 + i, 100) for i in range(8)])
    now_is(monkeypatch, 987.5, 1001.5, 1006.5)
    meter = WallMeter(path, accuracy=0.01)
    state = meter.begin()
    log(path, *[(980 + i, 100) for i in range(40) if 980 + i not in silent])
    [figure] = meter.end(state, 5.0)
    if len(silent) == 2:  # a gap of three periods is let pass
        assert figure.value_j == pytest.approx(500)
    else:
        assert figure.value_j is None
        assert figure.flags == ("counter_lost",)
        assert "a gap of 21.0 s" in figure.notes[0]


def test_one_restart_of_the_logger_does_not_change_its_period(tmp_path, monkeypatch):
    path = log(tmp_path / "w.csv", *[(1000 + i, 100) for i in range(8)], *[(2000 + i, 100) for i in range(8)])
    now_is(monkeypatch, 2007.5)
    assert WallMeter(path, accuracy=0.01).describe()[0].update_period_s == 1.0


def test_times_may_be_iso_8601_with_a_zone(tmp_path):
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert read_log(log(tmp_path / "w.csv", (moment.isoformat(), 7))) == [(moment.timestamp(), 7.0)]


def test_an_unfinished_last_line_is_left_out(tmp_path):
    path = log(tmp_path / "w.csv", (1, 2), (2, 3))
    path.write_text(path.read_text() + "3,1")
    assert read_log(path) == [(1.0, 2.0), (2.0, 3.0)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("timestamp,watts\n", "no line yet"),
        ("time,power\n1,2\n", "needs the columns timestamp,watts"),
        ("timestamp,watts\n1,x\n", "needs the columns"),
        ("timestamp,watts\n2026-01-02T03:04:05,1\n", "has no time zone"),
        ("timestamp,watts\n1000,1\n", "one line yet"),
        ("timestamp,watts\n1000,1\n1001,1\n", "from now"),
    ],
)
def test_a_log_that_cannot_be_used_is_named_and_leaves_the_total_empty(tmp_path, content, message):
    path = tmp_path / "w.csv"
    if content is not None:
        path.write_text(content)
    config = compose_cell(["energy=wall", f"energy.wall_meter_csv={path}"]).config
    meter = EnergyMeter(open_sources(config.energy, config.hardware))
    with meter.window("score"):
        pass
    meter.close()
    assert meter.windows[0].energy.value_j is None
    assert message in meter.windows[0].figures[-1].notes[0]


def test_a_wall_clock_that_was_set_inside_the_window_gives_no_figure(tmp_path, monkeypatch):
    path = log(tmp_path / "w.csv", *[(1000 + i, 100) for i in range(100)])
    now_is(monkeypatch, 1099.0, 1010.0, 1023.0, set_by=10.0)
    meter = WallMeter(path, accuracy=0.01)
    [figure] = meter.end(meter.begin(), 3.0)
    assert figure.value_j is None
    assert "wall clock moved by +10.00 s" in figure.notes[0]


def test_a_log_that_stops_inside_the_window_gives_no_figure(tmp_path, monkeypatch):
    path = log(tmp_path / "w.csv", (1000, 100), (1001, 100))
    now_is(monkeypatch, 1001.0, 1000.5, 1010.5)
    meter = WallMeter(path, accuracy=0.01, patience_s=0.1)
    [figure] = meter.end(meter.begin(), 10.0)
    assert figure.value_j is None
    assert "ends 9.5 s before the window" in figure.notes[0]
