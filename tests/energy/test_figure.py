from dataclasses import replace

import pytest

from harness.energy.figure import EnergyFigure, Method, Sensor, total, unavailable


def figure(component, value, low, high, method=Method.MEASURED_COUNTER):
    return EnergyFigure(component, value, low, high, method, "source", "covers")


def test_a_total_adds_its_parts_and_carries_the_worst_method():
    summed = total([figure("gpu", 10.0, 9.0, 11.0), figure("cpu", 2.0, 1.0, 3.0, Method.MODELLED)])
    assert (summed.value_j, summed.low_j, summed.high_j) == (12.0, 10.0, 14.0)
    assert summed.method is Method.MODELLED
    assert summed.components == ("gpu", "cpu")


def test_a_missing_part_leaves_no_total():
    summed = total([figure("gpu", 10.0, 9.0, 11.0), unavailable("cpu", "RAPL", "no permission")])
    assert (summed.value_j, summed.low_j, summed.high_j) == (None, None, None)
    assert summed.method is Method.UNAVAILABLE


def test_no_source_at_all_is_unavailable_and_not_zero():
    assert total([]).value_j is None
    assert total([]).method is Method.UNAVAILABLE


def test_a_wall_meter_is_not_added_to_what_it_contains():
    summed = total([figure("gpu", 10.0, 9.0, 11.0), figure("node", 50.0, 49.0, 51.0, Method.WALL_METER)])
    assert summed.value_j == 50.0
    assert summed.components == ("node",)


def test_a_figure_is_unavailable_exactly_when_it_has_no_value():
    with pytest.raises(AssertionError):
        figure("gpu", None, None, None)
    with pytest.raises(AssertionError):
        figure("gpu", 1.0, 1.0, 1.0, Method.UNAVAILABLE)


def test_a_counters_figure_by_hand():
    sensor = Sensor("gpu", "counter", "board", gain=0.05, update_period_s=0.1)
    made = sensor.figure([300.0], duration_s=10.0)
    assert made.quantisation_j == pytest.approx(30 * 0.1 / 1.96)  # one update is the half-width
    assert made.low_j == pytest.approx(285 - 1.96 * made.quantisation_j)
    assert made.high_j == pytest.approx(315 + 1.96 * made.quantisation_j)
    assert made.relative_uncertainty == pytest.approx((15 + 1.96 * made.quantisation_j) / 300)
    assert made.flags == ()
    assert sensor.figure([300.0], duration_s=1.9).flags == ("window_short_for_counter",)
    # Beside idling the window's own reading is the low one, and the power that was sampled counts.
    assert sensor.figure([300.0], 10.0, power_w=60.0).quantisation_j == pytest.approx(60 * 0.1 / 1.96)
    assert sensor.figure([300.0], 10.0, power_w=10.0).quantisation_j == pytest.approx(30 * 0.1 / 1.96)
    assert sensor.figure([30.0], 0.01).quantisation_j == pytest.approx(30 / 1.96)  # the one update that it saw


def test_a_figure_that_is_none_keeps_its_doubts():
    sensor = Sensor("gpu", "counter", "board", gain=0.05, update_period_s=0.1)
    still = sensor.figure([30.0, 0.0], 0.05, power_w=100.0).flagged("foreign_gpu_process").whole()
    assert (still.value_j, still.flags) == (None, ("counter_stuck", "foreign_gpu_process"))


def test_an_update_period_that_is_not_known_is_not_taken_for_zero():
    made = Sensor("soc", "chip", "chip", gain=0.1).figure([100.0], duration_s=1.0)
    assert made.quantisation_j == pytest.approx(100 * 0.6 / 1.96)
    assert made.update_period_s is None
    assert made.notes == ("update period not measured: 0.6 s assumed",)


def test_what_updates_and_gains_may_add_is_added_up():
    """Every counter is late, and errs to one side where the work draws more than what is around it."""
    parts = [
        replace(figure("gpu", 10.0, 9.0, 11.0), quantisation_j=0.3),
        replace(figure("cpu", 10.0, 9.0, 11.0), quantisation_j=0.4),
    ]
    summed = total(parts)
    assert summed.quantisation_j == pytest.approx(0.7)
    assert summed.low_j == pytest.approx(18 - 1.96 * 0.7)
    assert summed.high_j == pytest.approx(22 + 1.96 * 0.7)


def test_relative_uncertainty_by_hand():
    assert figure("cpu", 10.0, 8.0, 12.0).relative_uncertainty == pytest.approx(0.2)
    assert unavailable("cpu", "RAPL", "").relative_uncertainty is None
