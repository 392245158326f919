"""Simulated counters with a known truth: what is reported lies within its own stated interval of it."""

import numpy as np
import pytest

from harness.energy.gpu import open_gpus
from harness.energy.meter import EnergyMeter
from harness.energy.rapl import GAIN as RAPL_GAIN
from harness.energy.rapl import RaplSource
from harness.energy.segments import merged
from tests.simulate import Load, VirtualClock, drive_nvml, drive_rapl

START = 900.0


def a_load(generator, gain, period_s, watts):
    steps = [(START, float(generator.uniform(*watts)))]
    for _ in range(generator.integers(0, 8)):  # none: constant power
        steps.append((steps[-1][0] + float(generator.exponential(15)) + 5, float(generator.uniform(*watts))))
    return Load(steps, gain, period_s, float(generator.uniform(0, period_s)))


def pass_time(clock, meter, seconds):
    """Let time pass, with the sampler's readings in between."""
    for _ in range(int(seconds / 0.1)):
        clock.advance(0.1)
        for source in meter._sources:
            source.sample()
    clock.advance(seconds % 0.1)


@pytest.fixture
def clock(monkeypatch):
    return VirtualClock.install(monkeypatch)


def measured(clock, meter, seconds):
    window = meter.begin("score", repeat=1)
    started = clock.now
    pass_time(clock, meter, seconds)
    return meter.end(window), started, clock.now


def test_the_truth_is_inside_the_interval_in_200_trials(clock, nvml, rapl, monkeypatch):
    generator = np.random.default_rng(20261123)
    rapl.range_uj = 400_000_000  # 400 J: several wraps in most windows
    for path in rapl.root.rglob("max_energy_range_uj"):
        path.write_text(str(rapl.range_uj))
    covered = 0
    for _ in range(200):
        gpus = [
            a_load(generator, generator.uniform(0.95, 1.05), generator.choice([0.02, 0.1]), (60, 700)) for _ in range(2)
        ]
        zones = {
            name: a_load(generator, generator.uniform(0.95, 1.05), 0.001, (20, 250))
            for name in ("package-0", "package-1")
        }
        zones["psys"] = a_load(generator, 1.0, 0.001, (300, 900))
        zones["dram"] = a_load(generator, 1 + RAPL_GAIN["dram"] * generator.uniform(-1, 1), 0.001, (5, 40))
        clock.now = START + float(generator.uniform(1, 50))
        drive_nvml(nvml, clock, gpus)
        with monkeypatch.context() as patch:
            drive_rapl(rapl, clock, zones, patch)
            meter = EnergyMeter([open_gpus([0, 1]), RaplSource.open()])
            window, start, end = measured(clock, meter, float(generator.uniform(0.5, 20)))
            meter.close()
        truth = sum(
            load.joules(start, end) for load in [*gpus, *[zones[n] for n in ("package-0", "package-1", "dram")]]
        )
        energy = window.energy
        assert energy.components == ("gpu", "cpu", "dram")
        covered += energy.low_j <= truth <= energy.high_j
    assert covered >= 190


@pytest.mark.parametrize("seed", range(10))
def test_ten_seconds_are_within_one_per_cent(clock, nvml, seed):
    generator = np.random.default_rng(seed)
    load = a_load(generator, 1.0, 0.1, (60, 700))
    clock.now = START + float(generator.uniform(1, 50))
    drive_nvml(nvml, clock, [load, load])
    meter = EnergyMeter([open_gpus([0])])
    window, start, end = measured(clock, meter, float(generator.uniform(10, 60)))
    meter.close()
    assert window.energy.value_j == pytest.approx(load.joules(start, end), rel=0.01)


@pytest.mark.parametrize(
    ("parts", "seconds", "pauses"),
    [
        (20, (0.02, 0.3), (0.1, 1.0)),  # a validation every few steps
        (60, (0.3, 0.3), (0.05, 0.5)),
        (30, (1.0, 1.0), (0.2, 0.4)),  # checkpoints
        (6, (10.0, 10.0), (0.5, 3.0)),
        (4, (0.001, 8.0), (0.2, 0.4)),
        *((n, (seconds, seconds), (0.5, 1.0)) for n in (1, 3, 20) for seconds in (0.09, 0.1, 0.12, 0.3)),
    ],
)
def test_a_repeat_that_pauses_cut_is_within_its_interval(clock, nvml, parts, seconds, pauses):
    """Work at several times the power of the pauses: a counter that is late errs to one side at every edge."""
    generator, covered, trials = np.random.default_rng(7), 0, 100
    for _ in range(trials):
        edges, watts = [START + float(generator.uniform(1, 50))], float(generator.uniform(300, 700))
        for _ in range(parts):
            edges += [edges[-1] + float(generator.uniform(*seconds))]
            edges += [edges[-1] + float(generator.uniform(*pauses))]
        idle = float(generator.uniform(30, 120))
        steps = [
            (START - 100, idle),
            *((edge, idle if number % 2 else watts) for number, edge in enumerate(edges[:-1])),
        ]
        load = Load(steps, float(generator.uniform(0.95, 1.05)), 0.1, float(generator.uniform(0, 0.1)))
        clock.now = START - 50
        drive_nvml(nvml, clock, [load, load])
        nvml.power_mw = [watts * 1000] * 2
        meter = EnergyMeter([open_gpus([0, 1])])
        for begin, end in zip(edges[:-1:2], edges[1::2], strict=True):
            clock.now = begin
            window = meter.begin("train", repeat=1)
            window.segment = True
            clock.now = end
            meter.end(window)
        meter.close()
        truth = sum(2 * load.joules(begin, end) for begin, end in zip(edges[:-1:2], edges[1::2], strict=True))
        energy = merged(meter.windows).energy
        nothing = energy.value_j is None
        assert not nothing or parts * seconds[0] < 3 * 0.1, (
            "a counter had no update only where it had hardly time for one"
        )
        covered += nothing or energy.low_j <= truth <= energy.high_j
    assert covered >= 0.95 * trials


def test_the_update_period_is_measured(clock, nvml):
    drive_nvml(nvml, clock, [Load([(START, 100.0)], period_s=0.05)] * 2)
    [info] = open_gpus([0]).describe()
    assert info.update_period_s == pytest.approx(0.05, abs=0.001)


def test_quantisation_by_hand(clock, nvml):
    drive_nvml(nvml, clock, [Load([(START, 300.0)], period_s=0.1)] * 2)
    meter = EnergyMeter([open_gpus([0])])
    window, _, _ = measured(clock, meter, 10.0)
    meter.close()
    [figure] = window.figures
    assert figure.quantisation_j == pytest.approx(300 * 0.1 / 1.96, rel=0.02)
    assert figure.high_j == pytest.approx(figure.value_j * 1.05 + 300 * 0.1, rel=0.001)
    assert "window_short_for_counter" not in window.flags
    meter = EnergyMeter([open_gpus([0])])
    short, _, _ = measured(clock, meter, 0.5)
    meter.close()
    assert "window_short_for_counter" in short.flags


def test_boards_without_a_counter_are_integrated_and_constant_power_is_not_lost(clock, nvml):
    nvml.architecture = 4  # Pascal
    nvml.power_mw = [250_000, 100_000]
    meter = EnergyMeter([open_gpus([0, 1])])
    window, start, end = measured(clock, meter, 8.0)
    meter.close()
    [figure] = window.figures
    assert figure.value_j == pytest.approx(350 * (end - start))
    assert figure.method == "integrated_power"


def test_a_wrap_between_two_readings_is_recovered_exactly(clock, rapl, monkeypatch):
    load = Load([(START, 200.0)], period_s=0.001)
    idle = Load([(START, 1.0)], period_s=0.001)
    clock.now = START + 4.5  # 900 J of the 1,000 J that the counter holds
    drive_rapl(rapl, clock, {"package-0": load, "package-1": idle, "dram": idle}, monkeypatch)
    meter = EnergyMeter([RaplSource.open()])
    window, start, end = measured(clock, meter, 1.0)
    meter.close()
    joules = {figure.component: figure.value_j for figure in window.figures}
    assert joules["cpu"] == pytest.approx(201 * (end - start), rel=0.002)


@pytest.mark.parametrize(
    ("disturb", "flag"),
    [
        (lambda nvml: setattr(nvml, "clock_reasons", 0x40), "throttled"),
        (lambda nvml: nvml.processes.extend([_process(1), _process(2)]), "foreign_gpu_process"),
        (lambda nvml: setattr(nvml, "temperature_c", 70.0), "temperature_drift"),
        (lambda nvml: setattr(nvml, "clock_mhz", 1200.0), "clock_drift"),
    ],
)
def test_disturbances_of_a_gpu_are_flagged(clock, nvml, disturb, flag):
    drive_nvml(nvml, clock, [Load([(START, 100.0)])] * 2)
    meter = EnergyMeter([open_gpus([0])])
    quiet, _, _ = measured(clock, meter, 5.0)
    assert flag not in quiet.flags
    window = meter.begin("score", repeat=1)
    for second in range(50):
        clock.advance(0.1)
        if second == 25:
            disturb(nvml)
        meter.sampler.samples.extend(meter._sources[0].sample())
    closed = meter.end(window)
    meter.close()
    assert flag in closed.flags
    assert closed.energy.value_j is not None


def test_throttling_that_is_over_before_the_end_is_flagged(clock, nvml):
    drive_nvml(nvml, clock, [Load([(START, 100.0)])] * 2)
    meter = EnergyMeter([open_gpus([0])])
    window = meter.begin("score", repeat=1)
    for tenth in range(50):
        clock.advance(0.1)
        nvml.clock_reasons = 0x40 if tenth == 20 else 0
        meter.sampler.samples.extend(meter._sources[0].sample())
    assert "throttled" in meter.end(window).flags
    meter.close()


@pytest.mark.parametrize("silent_s", [0.3, 2.0])
def test_a_gap_in_sampled_power_is_no_reading(clock, nvml, silent_s):
    nvml.architecture = 4  # Pascal has no counter
    source = open_gpus([0])
    state = source.begin()
    for _ in range(20):
        clock.advance(0.1)
        source.sample()
    clock.advance(silent_s)
    [figure] = source.end(state, 2 + silent_s)
    if silent_s < 0.5:
        assert figure.value_j == pytest.approx(100 * (2 + silent_s))
    else:
        assert figure.value_j is None
        assert figure.flags == ("counter_lost",)


def test_no_power_throughout_is_no_reading(clock, nvml):
    nvml.architecture = 4
    nvml.power_mw = [0, 0]
    source = open_gpus([0])
    state = source.begin()
    clock.advance(0.2)
    assert source.end(state, 0.2)[0].value_j is None


def _process(pid):
    import types

    return types.SimpleNamespace(pid=pid)


@pytest.mark.parametrize(("watts", "flag"), [(101.0, None), (107.0, "trace_differs"), (130.0, "trace_inconsistent")])
def test_counter_and_trace_are_compared(clock, nvml, watts, flag):
    drive_nvml(nvml, clock, [Load([(START, 100.0)])] * 2)
    nvml.power_mw = [watts * 1000] * 2
    meter = EnergyMeter([open_gpus([0])])
    window = meter.begin("score", repeat=1)
    for _ in range(100):
        clock.advance(0.1)
        meter.sampler.samples.extend(meter._sources[0].sample())
    closed = meter.end(window)
    meter.close()
    assert set(closed.flags) & {"trace_differs", "trace_inconsistent"} == ({flag} if flag else set())
    assert closed.gpu_trace_j == pytest.approx(watts * 10)


def test_a_trace_with_a_gap_is_no_check(clock, nvml):
    drive_nvml(nvml, clock, [Load([(START, 400.0)])] * 2)
    nvml.power_mw = [60_000] * 2
    meter = EnergyMeter([open_gpus([0])])
    clock.advance(1.0)
    meter.sampler.samples.extend(meter._sources[0].sample())
    clock.advance(0.4)
    window = meter.begin("score", repeat=1)
    clock.advance(20.0)
    closed = meter.end(window)
    meter.close()
    assert closed.gpu_trace_j is None
    assert not {"trace_differs", "trace_inconsistent"} & set(closed.flags)


def test_what_the_counters_updates_explain_is_no_difference_of_the_trace(clock, nvml):
    """A window of 1.2 s under a counter with a period of 0.1 s: one update is 8 % of it."""
    drive_nvml(nvml, clock, [Load([(START, 100.0)], period_s=0.1)] * 2)
    nvml.power_mw = [100_000] * 2
    meter = EnergyMeter([open_gpus([0])])
    clock.now = START + 200.099  # just before an update, and the end is just after one
    window = meter.begin("score", repeat=1)
    for _ in range(11):
        clock.advance(0.1)
        meter.sampler.samples.extend(meter._sources[0].sample())
    clock.advance(0.102)
    closed = meter.end(window)
    meter.close()
    assert abs(closed.figures[0].value_j / closed.gpu_trace_j - 1) > 0.05
    assert not {"trace_differs", "trace_inconsistent"} & set(closed.flags)
