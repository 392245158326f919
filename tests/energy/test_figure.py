import pytest

from harness.energy.figure import EnergyFigure, Method, total, unavailable


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


def test_relative_uncertainty_by_hand():
    assert figure("cpu", 10.0, 8.0, 12.0).relative_uncertainty == pytest.approx(0.2)
    assert unavailable("cpu", "RAPL", "").relative_uncertainty is None
