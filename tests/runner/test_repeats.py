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


def idle(label, watts):
    figure = EnergyFigure("cpu", watts * 10, watts * 10, watts * 10, Method.MEASURED_COUNTER, "s", "c")
    return Window("idle", None, 0.0, 10.0, 0.0, 0.0, Work(), (figure,), (), label)


def test_net_energy_by_hand():
    windows = [
        idle("unloaded", 2.0),
        idle("loaded, before", 2.9),
        idle("loaded, after", 3.0),
        window(10.0),
        window(12.0),
    ]
    result = summarise(numbered(windows), compose_cell([]).config, {})
    assert result["idle"]["power_w"] == pytest.approx(2.95)
    phase = result["phases"]["score"]
    assert phase["net_energy_j"] == pytest.approx(22 - 2.95 * 4)
    random = 21.204949 * 0.01 * 200  # t(0.985, 1) s / sqrt(2), of 0.10 and 0.12 J/token, over 200 tokens
    baseline = 0.05 * 4
    gain = 0.1 * (22 - 2.95 * 4)
    expected = (random**2 + baseline**2 + gain**2) ** 0.5
    assert phase["net_energy_uncertainty_j"] == pytest.approx(expected, rel=0.01)
    assert phase["net_joules_per_token"] == pytest.approx((22 - 2.95 * 4) / 200)
    assert phase["total_energy_j"] == pytest.approx(22)


def test_what_the_counters_updates_add_to_the_baselines_counts_in_net_energy():
    """1 J at the edges of each baseline of 10 s: 0.1 W each, and of their mean, over 4 s."""
    baselines = [idle("loaded, before", 2.0), idle("loaded, after", 2.0)]
    coarse = [replace(w, figures=(replace(w.figures[0], quantisation_j=1.0),)) for w in baselines]
    windows = [window(10.0, spread=0.0), window(10.0, spread=0.0)]
    fine, wide = (
        summarise(numbered([*idles, *windows]), compose_cell([]).config, {})["phases"]["score"]
        for idles in (baselines, coarse)
    )
    assert fine["net_energy_uncertainty_j"] == 0.0
    assert wide["net_energy_uncertainty_j"] == pytest.approx(1.96 * 0.1 * 4)


def test_the_gain_of_net_energy_is_each_components_own():
    """CPU of 10 % 100 W over 80 W idle, memory of 20 % 21 W over 1 W, for 4 s: 0.1 x 80 J + 0.2 x 80 J."""

    def reading(cpu_w, dram_w, seconds):
        return tuple(
            EnergyFigure(
                name, w * seconds, w * seconds * (1 - gain), w * seconds * (1 + gain), Method.MEASURED_COUNTER, "s", "c"
            )
            for name, w, gain in (("cpu", cpu_w, 0.1), ("dram", dram_w, 0.2))
        )

    idles = [replace(idle(label, 0.0), figures=reading(80, 1, 10)) for label in ("loaded, before", "loaded, after")]
    windows = [replace(window(), figures=reading(100, 21, 2.0)) for _ in range(2)]
    phase = summarise(numbered([*idles, *windows]), compose_cell([]).config, {})["phases"]["score"]
    assert phase["net_energy_j"] == pytest.approx(160.0)
    assert phase["net_energy_uncertainty_j"] == pytest.approx(24.0)


def idles_of(before, after):
    """Idle windows of 10 s by the watts of CPU and memory."""
    return [
        replace(
            idle(label, 0.0),
            figures=tuple(
                EnergyFigure(name, w * 10, w * 10, w * 10, Method.MEASURED_COUNTER, "s", "c")
                for name, w in zip(("cpu", "dram"), watts, strict=True)
            ),
        )
        for label, watts in (("loaded, before", before), ("loaded, after", after))
    ]


def test_opposite_drifts_of_components_do_not_cancel():
    """CPU 60 to 61 W, memory 41 to 40 W: half a watt each, of 101 W."""
    windows = numbered([*idles_of((60, 41), (61, 40)), window(10.0), window(10.0)])
    baseline = summarise(windows, compose_cell([]).config, {})["idle"]
    assert baseline["power_w"] == pytest.approx(101.0)
    assert baseline["half_difference_w"] == pytest.approx(1.0)
    apart = summarise(numbered([*idles_of((60, 40), (64, 36)), window(10.0)]), compose_cell([]).config, {})
    assert apart["idle"]["power_w"] is None


def test_a_small_component_that_drifts_does_not_flag_a_sum_that_has_a_baseline():
    windows = [replace(window(), figures=idles_of((100, 3), (0, 0))[0].figures) for _ in range(2)]
    result = summarise(numbered([*idles_of((80, 2.0), (80, 2.2)), *windows]), compose_cell([]).config, {})
    phase = result["phases"]["score"]
    assert phase["net_energy_j"] is not None
    assert "idle_mismatch" not in phase["flags"]
    assert phase["components"]["dram"]["net_energy_j"] is None


def test_a_component_whose_idle_power_changed_flags_a_run_whose_sum_has_no_baseline():
    idles = [both_idle("loaded, before", 60.0), both_idle("loaded, after", 90.0)]
    phase = summarise(numbered([*idles, both(10.0, 2.0), both(12.0, 2.0)]), compose_cell([]).config, {})["phases"][
        "score"
    ]
    assert phase["flags"] == ["idle_mismatch"]
    assert phase["components"]["gpu"]["net_energy_j"] is None


def both(gpu_j, cpu_j, **more):
    """A window of a measured GPU and a modelled CPU."""
    return replace(
        window(**more),
        figures=(
            EnergyFigure("gpu", gpu_j, gpu_j * 0.95, gpu_j * 1.05, Method.MEASURED_COUNTER, "NVML", "GPU boards"),
            EnergyFigure("cpu", cpu_j, cpu_j * 0.2, cpu_j * 1.8, Method.MODELLED, "two curves", "share"),
        ),
    )


def both_idle(label, gpu_w):
    return replace(idle(label, 0.0), figures=both(gpu_w * 10, 3.0).figures)


def test_each_component_has_its_own_figures_by_hand():
    """The sum is modelled, as its CPU is; the GPU is measured, and has an idle baseline."""
    idles = [both_idle("loaded, before", 1.0), both_idle("loaded, after", 1.0)]
    result = summarise(numbered([*idles, both(10.0, 2.0), both(12.0, 2.0)]), compose_cell([]).config, {})
    phase = result["phases"]["score"]
    assert phase["energy_method"] == "modelled"
    assert phase["net_joules_per_token"] is None
    gpu, cpu = phase["components"]["gpu"], phase["components"]["cpu"]
    assert gpu["energy_method"] == "measured_counter"
    assert gpu["joules_per_token"] == pytest.approx(22 / 200)
    assert gpu["mean_power_w"] == pytest.approx(22 / 4)
    assert gpu["joules_per_token_low"] == pytest.approx(0.95 * 22 / 200)
    half = 21.204949 * 0.01 / 0.11  # t(0.985, 1) s / sqrt(2), of 0.10 and 0.12 J/token
    assert gpu["joules_per_token_random"] == pytest.approx(half, rel=1e-6)
    assert gpu["net_joules_per_token"] == pytest.approx((22 - 1.0 * 4) / 200)
    assert result["idle"]["components"]["gpu"]["power_w"] == pytest.approx(1.0)
    assert cpu["energy_method"] == "modelled"
    assert cpu["joules_per_token"] == pytest.approx(4 / 200)
    assert cpu["net_joules_per_token"] is None
    assert result["idle"]["components"]["cpu"]["power_w"] is None
    assert phase["gpu_trace_difference"] is None  # nobody sampled its power
    traced = [replace(w, gpu_trace_j=joules) for w, joules in ((both(10.0, 2.0), 10.5), (both(12.0, 2.0), 12.6))]
    assert summary(traced)["gpu_trace_difference"] == pytest.approx(0.05)


def test_what_one_of_several_devices_did_alone_is_measured_by_its_own_peak():
    config = compose_cell(
        ["task=train", "hardware.devices=2", "batch_size=2", "hardware.peak_flops.float32=1e9"]
    ).config
    idles = [idle("loaded, before", 2.0), idle("loaded, after", 2.0)]
    windows = [window(repeat=n, phase=phase) for phase in ("train", "score") for n in (1, 2)]
    phases = summarise([*idles, *windows], config, {})["phases"]
    assert phases["train"]["mfu"] == pytest.approx(0.25)  # 1e9 FLOPs in 2 s, of two devices
    assert phases["score"]["mfu"] == pytest.approx(0.5)
    assert phases["train"]["net_energy_j"] == pytest.approx(20 - 2.0 * 4)
    assert phases["score"]["net_energy_j"] is None  # idle power is that of both


def test_net_energy_is_void_where_the_baselines_differ_or_are_missing():
    apart = summarise(
        [idle("loaded, before", 2.0), idle("loaded, after", 3.0), window(), window()], compose_cell([]).config, {}
    )
    assert apart["phases"]["score"]["net_energy_j"] is None
    assert apart["phases"]["score"]["flags"] == ["idle_mismatch"]
    assert apart["idle"]["reason"] == "idle power was 2.0 W before the work and 3.0 W after it"
    assert summary([window(), window()])["net_energy_j"] is None


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
