from dataclasses import replace
from itertools import count

import pytest

from harness.config.compose import compose_cell
from harness.energy.figure import EnergyFigure, Method
from harness.energy.meter import Window, Work
from harness.runner.repeats import costs_per_token, repeat_until_precise
from harness.runner.summary import invalid, summarise


def window(joules=10.0, tokens=100, seconds=2.0, repeat=1, phase="score", flags=(), spread=0.1):
    figures = ()
    if joules is not None:
        low, high = joules * (1 - spread), joules * (1 + spread)
        figures = (EnergyFigure("cpu", joules, low, high, Method.MODELLED, "s", "c"),)
    work = Work(iterations=1, samples=2, tokens=tokens, text_bytes=400.0, flops=1e9)
    return Window(phase, repeat, 0.0, seconds, 1.0, 0.0, work, figures, tuple(flags))


def protocol(**changes):
    overrides = {"min_repeats": 3, "max_repeats": 10, "target_half_width": 0.05, "max_minutes": 1.0, **changes}
    return compose_cell([f"protocol.{key}={value}" for key, value in overrides.items()]).config.protocol


def test_equal_repeats_stop_at_the_minimum():
    seen = []
    reason = repeat_until_precise(protocol(), lambda repeat: seen.append(repeat) or window())
    assert seen == [1, 2, 3]
    assert reason == "half-width 0.00% of joules per token is within 5.00%"


def test_unequal_repeats_go_on_until_the_interval_is_narrow():
    joules = iter([10.0, 11.0, 10.0, 11.0, 10.5, 10.5, 10.5, 10.5, 10.5, 10.5])
    seen = []

    def measure(repeat):
        seen.append(repeat)
        return window(next(joules))

    reason = repeat_until_precise(protocol(), measure)
    # t intervals of 97 % by hand, t(0.985, n - 1) sqrt(1 / (n (n - 1))) / 10.5: n=6 5.22 %, n=7 4.16 %
    assert len(seen) == 7
    assert reason == "half-width 4.16% of joules per token is within 5.00%"


def test_the_limits_hold():
    joules = iter(range(1, 100))
    assert repeat_until_precise(protocol(), lambda repeat: window(float(next(joules)))) == "limit of 10 repeats"
    reason = repeat_until_precise(protocol(max_minutes=1e-9), lambda repeat: window())
    assert reason == "limit of 1e-09 minutes after 1 repeats"


def test_what_decides_is_named():
    assert " of joules per token " in repeat_until_precise(protocol(), lambda repeat: window())
    assert " of seconds per token " in repeat_until_precise(protocol(), lambda repeat: window(joules=None))


def test_the_repeats_of_a_training_do_not_stop_for_their_interval():
    """Their number is fixed by the steps: t(0.975, 2) and not t(0.985, 2)."""
    windows = numbered([window(10.0, phase="train"), window(12.0, phase="train"), window(14.0, phase="train")])
    phase = summarise(windows, compose_cell(["task=train"]).config, {})["phases"]["train"]
    assert phase["joules_per_token_random"] == pytest.approx(4.302653 * (0.02 / 3**0.5) / 0.12, rel=1e-6)


def test_without_energy_seconds_decide():
    assert costs_per_token([window(), window()]) == pytest.approx([0.1, 0.1])
    assert costs_per_token([window(), window(joules=None)]) == pytest.approx([0.02, 0.02])  # never joules with seconds
    assert costs_per_token([window(tokens=None)]) == []


def numbered(windows):
    """The windows with the repeats numbered in their order."""
    numbers = count(1)
    return [w if w.repeat is None else replace(w, repeat=next(numbers)) for w in windows]


def summary(windows, *overrides):
    windows = numbered(windows)
    return summarise(windows, compose_cell(list(overrides)).config, {"score": "why"})["phases"]["score"]


def test_the_summary_by_hand():
    phase = summary([window(10.0), window(12.0), window(14.0), window(repeat=None, joules=999.0)])
    assert (phase["repeats"], phase["tokens"], phase["duration_s"]) == (3, 300, 6.0)
    assert phase["joules_per_token"] == pytest.approx(36 / 300)
    assert phase["joules_per_byte"] == pytest.approx(36 / 1200)
    assert phase["joules_per_sample"] == pytest.approx(6.0)
    assert phase["tokens_per_second"] == pytest.approx(50.0)
    assert phase["mean_power_w"] == pytest.approx(6.0)
    half = 5.642778 * (0.02 / 3**0.5) / 0.12  # t(0.985, 2) s / sqrt(3), over the mean
    assert phase["joules_per_token_relative_half_width"] == pytest.approx(half, rel=1e-6)
    assert phase["joules_per_token_ci_low"] == pytest.approx(0.12 * 0.9 * (1 - half), rel=1e-6)
    assert phase["joules_per_token_ci_high"] == pytest.approx(0.12 * 1.1 * (1 + half), rel=1e-6)
    assert phase["energy_method"] == "modelled"
    assert phase["stop_reason"] == "why"


def test_flagged_repeats_are_counted_and_left_out_of_means():
    phase = summary(
        [window(10.0), window(10.0), window(99.0, flags=["window_too_short"]), window(10.0, flags=["contended_host"])]
    )
    assert (phase["repeats"], phase["repeats_excluded"]) == (3, 1)
    assert phase["joules_per_token"] == pytest.approx(0.1)
    assert phase["flags"] == ["contended_host", "window_too_short"]


def test_means_with_and_without_flagged_repeats_are_both_there():
    phase = summary([window(10.0), window(10.0), window(40.0, flags=["contended_host"])])
    assert (phase["repeats"], phase["repeats_unflagged"]) == (3, 2)
    assert phase["joules_per_token"] == pytest.approx(0.2)
    assert phase["joules_per_token_unflagged"] == pytest.approx(0.1)
    assert summary([window(flags=["throttled"])] * 2)["joules_per_token_unflagged"] is None


def test_one_missing_reading_leaves_the_sum_empty():
    phase = summary([window(10.0), window(None), window(10.0)])
    assert phase["joules_per_token"] is None
    assert phase["cpu_energy_j"] is None
    assert phase["total_energy_j"] is None
    assert phase["energy_method"] == "unavailable"
    assert phase["tokens_per_second"] == pytest.approx(50.0)


def test_utilisation_needs_a_peak():
    assert summary([window(), window()])["mfu"] is None
    assert summary([window(), window()], "hardware.peak_flops.float32=1e9")["mfu"] == pytest.approx(0.5)


def test_more_than_the_memory_bandwidth_is_invalid():
    windows = [window(), window()]
    for each in windows:
        each.work.memory_bytes = 3e9
    config = compose_cell(["hardware.memory_bandwidth_bytes_per_s=2e9"]).config
    assert summarise(windows, config, {})["phases"]["score"]["mbu"] == pytest.approx(0.75)
    narrow = compose_cell(["hardware.memory_bandwidth_bytes_per_s=1e9"]).config
    assert "1.50 of the hardware's memory bandwidth" in invalid(summarise(windows, narrow, {}), {}, narrow.protocol)


def test_more_than_the_peak_is_invalid():
    config = compose_cell(["hardware.peak_flops.float32=1e8"]).config
    reason = invalid(summarise([window(), window()], config, {}), {}, config.protocol)
    assert "5.00 of the hardware's peak" in reason
    assert invalid(summarise([window(), window()], compose_cell([]).config, {}), {}, config.protocol) == ""


def test_short_windows_are_flagged_or_refused_by_protocol():
    enough = [window(repeat=number) for number in range(1, 11)]
    short_for_counter = [*enough, window(repeat=11, flags=["window_short_for_counter"])]
    too_short = [*enough[1:], window(flags=["window_too_short"])]
    for protocol_name, refused in (("smoke", False), ("publication", True)):
        config = compose_cell([f"protocol={protocol_name}"]).config
        reason = invalid(summarise(short_for_counter, config, {}), {}, config.protocol)
        assert ("which protocol=publication refuses" in reason) == refused
        reason = invalid(summarise(too_short, config, {}), {}, config.protocol)
        assert ("9 repeats of full length, and protocol=publication asks for more" in reason) == refused
        assert invalid(summarise(enough, config, {}), {}, config.protocol) == ""


def test_quantisation_widens_the_interval():
    figure = EnergyFigure("gpu", 10.0, 9.0, 11.0, Method.MEASURED_COUNTER, "s", "c", quantisation_j=0.5)
    windows = [Window("score", n, 0.0, 1.0, 0.0, 0.0, Work(tokens=10), (figure,), ()) for n in (1, 2, 3, 4)]
    phase = summarise(windows, compose_cell([]).config, {})["phases"]["score"]
    assert phase["joules_per_token_random"] == 0.0
    assert phase["joules_per_token_quantisation"] == pytest.approx(
        1.96 * 0.5 * 4 / 40
    )  # to one side: 4 x 0.5 J of 40 J
    assert phase["joules_per_token_relative_half_width"] == pytest.approx(1.96 * 2 / 40)


def test_phases_take_turns_and_each_stops_when_it_is_known():
    """The steady one stops after three rounds; the other goes on to the limit."""
    from harness.runner.repeats import repeat_in_turn

    order, joules = [], iter(range(1, 100))

    def measure(name, of):
        def do(repeat):
            order.append((name, repeat))
            return window(of())

        return do

    phases = {"steady": measure("steady", lambda: 10.0), "wild": measure("wild", lambda: float(next(joules)))}
    reasons = repeat_in_turn(protocol(max_repeats=5), phases)
    assert order == [
        ("steady", 1),
        ("wild", 1),
        ("steady", 2),
        ("wild", 2),
        ("steady", 3),
        ("wild", 3),
        ("wild", 4),
        ("wild", 5),
    ]
    assert reasons == {"steady": "half-width 0.00% of joules per token is within 5.00%", "wild": "limit of 5 repeats"}
