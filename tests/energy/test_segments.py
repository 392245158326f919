from dataclasses import replace

import pytest

from harness.energy.figure import EnergyFigure, Method, unavailable
from harness.energy.meter import Window, Work
from harness.energy.segments import energy_over, merged, merged_repeats, without_short_repeats


def figure(value, quantisation=0.0, method=Method.MEASURED_COUNTER, **more):
    return EnergyFigure("cpu", value, 0.9 * value, 1.1 * value, method, "RAPL", "package", 0.1, quantisation, **more)


def window(repeat, duration, figures, work=None, flags=(), phase="train"):
    return Window(
        phase, repeat, 0.0, duration, duration, 0.5, work or Work(iterations=2, tokens=10), tuple(figures), flags
    )


def test_the_parts_of_a_repeat_add_up():
    parts = [
        window(1, 2.0, [figure(10.0, 3.0, flags=("a",))], Work(iterations=2, tokens=10, flops=5.0), ("a",)),
        window(1, 1.0, [figure(4.0, 4.0, flags=("b",))], Work(iterations=1, tokens=5), ("b", "a")),
    ]
    [whole] = merged_repeats([*parts, window(None, 9.0, [figure(1.0)])])
    assert whole.duration_s == 3.0
    assert whole.energy.value_j == 14.0
    assert whole.energy.systematic_high_j == pytest.approx(15.4)
    assert whole.energy.quantisation_j == 3 + 4
    assert whole.work == Work(iterations=3, tokens=15, flops=None)  # one part does not know its FLOPs
    assert whole.flags == ("a", "b")
    assert whole.figures[0].flags == ("a", "b")


def test_a_part_without_a_figure_leaves_the_repeat_without_one():
    whole = merged([window(1, 1.0, [figure(10.0)]), window(1, 1.0, [unavailable("cpu", "RAPL", "it was gone")])])
    assert whole.energy.value_j is None
    assert whole.energy.method is Method.UNAVAILABLE
    assert whole.figures[0].notes == ("it was gone",)


def test_a_modelled_part_makes_the_repeat_modelled():
    whole = merged([window(1, 1.0, [figure(1.0)]), window(1, 1.0, [figure(1.0, method=Method.MODELLED)])])
    assert whole.energy.method is Method.MODELLED


def boards(parts, duration, quantisation):
    """A window over two boards whose counters moved by `parts` joules."""
    joules = EnergyFigure(
        *("gpu", sum(parts), 0.95 * sum(parts), 1.05 * sum(parts), Method.MEASURED_COUNTER, "NVML", "boards", 0.1),
        *(quantisation, parts, ("window_short_for_counter",)),
    )
    return window(1, duration, [joules], flags=("window_short_for_counter",))


def test_whether_a_counter_is_too_slow_is_a_question_to_the_sum_of_the_parts():
    """One update of 5 J in each: more than 5 % of a short part, and 15 J of 360 J in all."""
    parts = [boards((30.0, 30.0), 1.0, 5 / 1.96), boards((120.0, 120.0), 4.0, 5 / 1.96)]
    parts.append(parts[0])
    assert merged(parts).flags == ()
    assert merged(parts).figures[0].flags == ()
    assert merged([parts[0], parts[0]]).flags == ("window_short_for_counter",)  # 10 J of 120 J


def test_a_part_without_an_update_is_a_reading_and_a_repeat_without_one_is_none():
    found = merged([boards((30.0, 30.0), 1.0, 2.0), boards((0.0, 12.0), 0.05, 3.0)])
    assert found.energy.value_j == 72.0
    assert found.figures[0].parts_j == (30.0, 42.0)
    assert found.energy.quantisation_j == 2 + 3
    for parts in ([boards((0.0, 12.0), 0.05, 3.0)], [boards((0.0, 12.0), 0.05, 3.0)] * 3):
        still = merged(parts)
        assert still.energy.value_j is None
        assert still.flags[-1] == "counter_stuck"


def test_energy_over_windows_that_are_no_repeat():
    """As that of a training: a board that moved in none of its parts is no board of 0 J."""
    moved = [boards((30.0, 30.0), 1.0, 2.0), boards((0.0, 12.0), 0.05, 3.0)]
    assert energy_over(moved).value_j == 72.0
    assert energy_over(moved).quantisation_j == 5.0
    assert energy_over(moved).low_j == pytest.approx(0.95 * 72 - 1.96 * 5)
    still = energy_over([boards((0.0, 12.0), 0.05, 3.0)] * 2)
    assert (still.value_j, still.method) == (None, Method.UNAVAILABLE)
    assert energy_over([]).value_j is None
    # One device of two, and another session's sources: nothing to compare, and nothing that stood still.
    assert energy_over([*moved, boards((5.0,), 1.0, 1.0)]).value_j == 77.0
    assert energy_over([*moved, window(None, 1.0, [figure(1.0)])]).value_j == 73.0
    # Beside a wall meter, whose reading is the total, what stands still is no part of it.
    node = replace(figure(30.0), component="node")
    beside = [replace(each, figures=(*each.figures, node)) for each in [boards((0.0, 12.0), 0.05, 3.0)] * 2]
    assert energy_over(beside).value_j == 60.0


def test_repeats_stay_apart_and_in_order():
    windows = [window(n, 1.0, [figure(float(n))]) for n in (1, 2, 2, 3)]
    assert [w.energy.value_j for w in merged_repeats(windows)] == [1.0, 4.0, 3.0]
    assert merged_repeats(windows)[0] == windows[0]


def test_a_repeat_that_is_too_short_in_all_is_none():
    windows = [window(n, 1.0, [figure(1.0)]) for n in (1, 1, 2)] + [window(2, 1.0, [figure(1.0)], phase="score")]
    assert [w.repeat for w in without_short_repeats(windows, "train", 2.0)] == [1, 1, None, 2]
