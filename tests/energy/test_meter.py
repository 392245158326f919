import time
from dataclasses import replace

import psutil
import pytest
import torch

from harness.config.compose import compose_cell
from harness.energy import meter as meter_module
from harness.energy.choose import gpu_source, open_sources
from harness.energy.cpu_model import CpuModel
from harness.energy.cuda import synchronize
from harness.energy.figure import Method
from harness.energy.meter import EnergyMeter
from harness.energy.quiet import watch
from harness.energy.rapl import RaplSource
from harness.energy.source import SourceInfo
from harness.energy.validity import Limits
from harness.runner.summary import own_cost


def options(*overrides):
    config = compose_cell(list(overrides)).config
    return config.energy, config.hardware


def test_a_window_has_its_work_its_time_and_its_energy(rapl):
    meter = EnergyMeter([RaplSource.open()])
    with meter.window("score", repeat=1) as window:
        rapl.add_cpu_j(6.0)
        rapl.add_j("dram", 1.5)
        window.work.tokens = 100
        time.sleep(0.02)
    [closed] = meter.windows
    assert closed.energy.value_j == pytest.approx(7.5)
    assert closed.energy.components == ("cpu", "dram")
    assert closed.work.tokens == 100
    assert 0.02 <= closed.duration_s < 0.5
    # The counters move by a hand's work here: their period is not known, and 0.6 s is assumed.
    assert set(closed.flags) - {"contended_host"} == {"window_short_for_counter"}


def test_the_clock_does_not_follow_the_wall(monkeypatch):
    meter = EnergyMeter([])
    now = time.time()
    jumps = iter([now, now - 3600, now + 3600])
    window = meter.begin("score")
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    assert 0 <= meter.end(window).duration_s < 1


def test_work_is_finished_at_both_edges():
    calls = []
    meter = EnergyMeter([], synchronize=lambda: calls.append("wait"))
    with meter.window("score"):
        calls.append("work")
    assert calls == ["wait", "work", "wait"]


def test_an_error_inside_closes_the_window_as_interrupted(rapl):
    meter = EnergyMeter([RaplSource.open()])
    with pytest.raises(RuntimeError), meter.window("train", repeat=1):
        rapl.add_cpu_j(1.5)
        rapl.add_j("dram", 0.5)
        raise RuntimeError
    [closed] = meter.windows
    assert "interrupted" in closed.flags
    assert closed.energy.value_j == pytest.approx(2.0)


def test_a_repeat_shorter_than_the_protocols_window_is_flagged():
    meter = EnergyMeter([], limits=Limits(shortest_s=10.0))
    with meter.window("score", repeat=1):
        pass
    with meter.window("load"):
        pass
    assert "window_too_short" in meter.windows[0].flags
    assert "window_too_short" not in meter.windows[1].flags


def test_others_work_flags_the_window(monkeypatch):
    monkeypatch.setattr(meter_module, "own_cpu_seconds", iter([0.0, 1.0]).__next__)
    monkeypatch.setattr(meter_module, "machine_cpu_seconds", iter([0.0, 9.0]).__next__)
    monkeypatch.setattr(meter_module.time, "perf_counter", iter([0.0, 0.0, 1.0]).__next__)
    meter = EnergyMeter([])
    closed = meter.end(meter.begin("score"))
    assert closed.foreign_cpu_s == 8.0
    assert closed.flags == ("contended_host",)


def test_without_any_source_energy_is_unavailable_and_not_zero():
    meter = EnergyMeter(open_sources(*options("energy=off")))
    with meter.window("score", repeat=1):
        pass
    assert meter.windows[0].energy.value_j is None
    assert meter.windows[0].energy.method is Method.UNAVAILABLE


def test_counters_are_preferred_to_the_model(rapl):
    [source] = open_sources(*options("energy=auto"))
    assert isinstance(source, RaplSource)


def test_without_counters_the_cpu_is_modelled_and_the_reason_is_kept(monkeypatch):
    from zeus.device import cpu

    monkeypatch.setattr(cpu, "_cpus", None)
    monkeypatch.setattr(cpu, "rapl_is_available", lambda: False)
    [source] = open_sources(*options("energy=auto"))
    assert isinstance(source, CpuModel)
    [figure] = source.end(source.begin(), 1.0)
    assert figure.method is Method.MODELLED
    assert any("no CPU counter" in note for note in figure.notes)


def test_without_permission_the_figure_is_empty_and_says_how_to_get_it(rapl, monkeypatch):
    from zeus.device.cpu import common
    from zeus.device.cpu import rapl as zeus_rapl

    def refuse(self, path):
        raise common.ZeusCPUNoPermissionError("Can't read file due to permission error")

    monkeypatch.setattr(zeus_rapl.RAPLFile, "__init__", refuse)
    meter = EnergyMeter(open_sources(*options("energy=counters")))
    with meter.window("score"):
        pass
    [figure] = meter.windows[0].figures
    assert figure.value_j is None
    assert "permission" in figure.notes[0]
    assert "chmod" in meter.describe()[0].remedy


def test_the_runs_log_says_how_to_get_permission(tiny, rapl, monkeypatch):
    from zeus.device.cpu import common
    from zeus.device.cpu import rapl as zeus_rapl

    from harness.runner.folders import run_folder
    from harness.runner.run import execute

    def refuse(self, path):
        raise common.ZeusCPUNoPermissionError("Can't read file due to permission error")

    monkeypatch.setattr(zeus_rapl.RAPLFile, "__init__", refuse)
    cell = compose_cell([*tiny, "energy=auto"])
    record = execute(cell, "", lambda *_: None)
    log = (run_folder(cell.config) / "run.log").read_text()
    assert "no CPU counter: Can't read file due to permission error" in log
    assert "for better figures" in log
    assert "chmod -R a+r /sys/class/powercap/intel-rapl" in log
    assert record.summary["phases"]["score"]["energy_method"] == "modelled"


class Broken:
    """A source whose driver raises at one of the edges."""

    def __init__(self, edge):
        self._edge = edge

    def describe(self):
        return [SourceInfo("soc", "a chip", Method.MEASURED_COUNTER, "the chip")]

    def begin(self):
        if self._edge == "begin":
            raise OSError("the driver is away")

    def end(self, state, duration_s):
        raise OSError("the driver is away")

    def close(self):
        pass


@pytest.mark.parametrize("edge", ["begin", "end"])
def test_a_source_that_raises_loses_its_figure_and_not_the_run(edge):
    meter = EnergyMeter([Broken(edge)])
    with meter.window("score"):
        pass
    [figure] = meter.windows[0].figures
    assert figure.value_j is None
    assert figure.flags == ("counter_lost",)
    assert figure.notes == ("OSError('the driver is away')",)


def test_a_driver_that_fails_to_open_is_a_missing_source(monkeypatch):
    import zeus.device
    import zeus.monitor  # First, as it keeps the function that it finds.

    def fail():
        raise RuntimeError("libnvidia-ml.so: version mismatch")

    monkeypatch.setattr(zeus.device, "get_gpus", fail)
    [figure] = gpu_source([0]).end(None, 1.0)
    assert figure.value_j is None
    assert figure.notes == ("libnvidia-ml.so: version mismatch",)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a PyTorch without a usable GPU")
def test_a_gpu_beside_a_pytorch_without_cuda_is_measured(nvml, rapl):
    from zeus.monitor import ZeusMonitor

    zeus_monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])
    with pytest.raises((RuntimeError, AssertionError)):
        zeus_monitor.begin_window("what Zeus does by itself", sync_execution=True)
    meter = EnergyMeter(open_sources(*options("hardware=cuda")), synchronize)
    with meter.window("score"):
        nvml.energy_mj[0] += 3_000
    meter.close()
    assert {figure.component: figure.value_j for figure in meter.windows[0].figures}["gpu"] == pytest.approx(3.0)


def test_both_edges_are_read_in_the_same_order(monkeypatch):
    calls = []
    source = Broken("none")
    source.begin = lambda: calls.append("source")
    source.end = lambda state, duration: calls.append("source") or []
    monkeypatch.setattr(meter_module, "own_cpu_seconds", lambda: calls.append("cpu") or 0.0)
    meter = EnergyMeter([source])
    with meter.window("score"):
        calls.append("work")
    assert calls == ["cpu", "source", "work", "cpu", "source"]


def test_a_gpu_run_measures_gpus_and_the_cpu(nvml, rapl):
    meter = EnergyMeter(open_sources(*options("hardware=cuda")))
    with meter.window("score"):
        nvml.energy_mj[0] += 3_000
        rapl.add_cpu_j(4.0)
        rapl.add_j("dram", 0.5)
    joules = {figure.component: figure.value_j for figure in meter.windows[0].figures}
    assert joules == pytest.approx({"gpu": 3.0, "cpu": 4.0, "dram": 0.5})


def test_gpus_alone_are_a_total_of_what_is_measured(nvml, monkeypatch):
    """On a machine without RAPL, energy=auto would add a modelled CPU to measured boards."""
    meter = EnergyMeter(open_sources(*options("hardware=cuda", "energy=gpu")))
    with meter.window("score"):
        nvml.energy_mj[0] += 3_000
    energy = meter.windows[0].energy
    assert (energy.value_j, energy.components) == (pytest.approx(3.0), ("gpu",))
    assert energy.method is Method.MEASURED_COUNTER
    [figure] = open_sources(*options("hardware=cpu", "energy=gpu"))[0].end(None, 1.0)
    assert figure.value_j is None
    assert figure.notes == ("the run uses no GPU",)


def test_a_missing_gpu_counter_leaves_the_total_empty(rapl, monkeypatch):
    from zeus.device import gpu

    monkeypatch.setattr(gpu, "_gpus", None)
    monkeypatch.setattr(gpu, "nvml_is_available", lambda: False)
    monkeypatch.setattr(gpu, "amdsmi_is_available", lambda: False)
    meter = EnergyMeter(open_sources(*options("hardware=cuda")))
    with meter.window("score"):
        rapl.add_cpu_j(4.0)
    assert meter.windows[0].energy.value_j is None
    assert {f.component: f.value_j for f in meter.windows[0].figures}["cpu"] == pytest.approx(4.0)


def test_a_system_that_counts_nobodys_cpu_time_tells_nothing_of_others(monkeypatch):
    nothing = dict.fromkeys(psutil.cpu_times()._fields, 0.0)
    zero = type(psutil.cpu_times())(**nothing)
    monkeypatch.setattr(psutil, "cpu_times", lambda: zero)
    own = iter([1.0, 3.0])
    monkeypatch.setattr(meter_module, "own_cpu_seconds", lambda: next(own))
    meter = EnergyMeter([])
    with meter.window("score"):
        pass
    assert meter.windows[0].foreign_cpu_s is None
    assert "contended_host" not in meter.windows[0].flags
    told = watch(limit=0.05, seconds=0.0)
    assert told.foreign_cpu_share is None
    assert not told.quiet


def test_a_window_below_the_tick_of_the_systems_clock_knows_that_others_did_nothing(monkeypatch):
    monkeypatch.setattr(meter_module, "machine_cpu_seconds", lambda: 100.0)
    monkeypatch.setattr(meter_module, "own_cpu_seconds", iter([1.0, 1.004]).__next__)
    meter = EnergyMeter([])
    assert meter.end(meter.begin("score")).foreign_cpu_s == 0.0


def test_windows_from_before_an_interruption_are_no_part_of_this_sessions_own_cost():
    """They lie before the meter's start, and last longer than this session."""
    meter = EnergyMeter([])
    with meter.window("train"):
        pass
    [measured] = meter.windows
    meter.windows.insert(0, replace(measured, start_s=-300.0, duration_s=300.0, own_cpu_s=290.0))
    cost = own_cost(meter, duration_s=measured.duration_s + 0.5)
    assert cost["outside_windows_s"] == pytest.approx(0.5)
    assert cost["outside_windows_cpu_s"] > 0
