"""The idle baseline and net energy, also of each component alone, by hand."""

from dataclasses import replace

import pytest

from harness.config.compose import compose_cell
from harness.energy.figure import EnergyFigure, Method
from harness.energy.meter import Window, Work
from harness.runner.summary import summarise
from tests.runner.test_repeats import numbered, summary, window


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
