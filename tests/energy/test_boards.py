"""What boards tell beside energy, and who is on them."""

import os
import subprocess
import sys
import time
import types

import pytest

from harness.energy.gpu import open_gpus


def test_a_board_that_does_not_tell_its_temperature_still_tells_its_power(nvml):
    import pynvml

    def refuse(*_):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    from zeus.device.gpu import nvidia

    nvidia.pynvml.nvmlDeviceGetTemperatureV = refuse
    [sample] = open_gpus([1]).sample()
    assert (sample.component, sample.watts, sample.temperature_c) == ("gpu1", 100.0, None)


def test_older_drivers_tell_temperature_and_throttling_under_other_names(nvml, monkeypatch):
    """Drivers before 565 lack the temperature call that Zeus makes, and those before 535 the name of the reasons."""
    from zeus.device.gpu import nvidia

    def missing(*_):
        raise nvidia.pynvml.NVMLError(nvidia.pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetTemperatureV", missing, raising=False)
    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetCurrentClocksEventReasons", missing, raising=False)
    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetTemperature", lambda handle, sensor: 61, raising=False)
    old = "nvmlDeviceGetCurrentClocksThrottleReasons"
    monkeypatch.setattr(nvidia.pynvml, old, lambda handle: 0x40, raising=False)
    [sample, *_] = open_gpus([0]).sample()
    assert sample.temperature_c == 61
    assert sample.flags == ("throttled",)


def process(pid):
    return types.SimpleNamespace(pid=pid)


@pytest.mark.parametrize(
    ("before", "now", "shared"),
    [
        ([], [], False),
        ([], ["own"], False),
        ([], ["child"], False),
        ([], ["own", 1], True),
        ([], [1], False),  # It may be this process, by another number.
        ([], [1, 2], True),
        ([1], [1], True),  # It was there before this process used the board.
        ([1], [2], False),
    ],
)
def test_whose_processes_are_on_a_board(nvml, before, now, shared):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        known = {"own": os.getpid(), "child": child.pid}
        nvml.processes = [process(known.get(pid, pid)) for pid in before]
        source = open_gpus([0])
        state = source.begin()
        nvml.processes = [process(known.get(pid, pid)) for pid in now]
        nvml.energy_mj[0] += 1_000
        [figure] = source.end(state, 0.1)
        child.communicate(b"\n")
    beginning = ("foreign_gpu_process",) if before else ()
    assert figure.flags[1:] == (("foreign_gpu_process",) if shared else beginning)
    assert figure.flags[0] == "window_short_for_counter"


def test_what_a_board_does_not_tell_of_its_processes_is_noted(nvml, monkeypatch):
    from zeus.device.gpu import nvidia

    def refuse(handle):
        raise nvidia.pynvml.NVMLError(nvidia.pynvml.NVML_ERROR_NO_PERMISSION)

    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetComputeRunningProcesses", refuse)
    source = open_gpus([0])
    state = source.begin()
    nvml.energy_mj[0] += 1_000
    assert "who else uses the boards is not told" in source.end(state, 0.1)[0].notes


def test_a_foreign_process_that_came_and_went_is_seen_by_the_sampler(nvml):
    source = open_gpus([0])
    nvml.processes = [process(1), process(2)]
    assert "foreign_gpu_process" in source.sample()[0].flags
    nvml.processes = []
    flags = [source.sample()[0].flags for _ in range(10)]
    assert flags == [()] * 10  # A look every tenth sample: this time, and nobody was there.


def test_power_is_asked_for_in_three_ways(nvml, monkeypatch):
    """Instant power; boards and drivers without it tell an average, or know only the call from before the fields."""
    from zeus.device.gpu import nvidia

    boards = open_gpus([0])._boards
    nvml.power_mw = [100_000, 0]
    assert boards.watts(0) == 100.0

    def refuse(*_):
        raise nvidia.pynvml.NVMLError(nvidia.pynvml.NVML_ERROR_NOT_SUPPORTED)

    def average_only(handle, fields):
        if fields[0][0] == nvidia.pynvml.NVML_FI_DEV_POWER_INSTANT:
            refuse()
        return [types.SimpleNamespace(nvmlReturn=0, value=types.SimpleNamespace(uiVal=90_000))]

    monkeypatch.setattr(nvidia.pynvml, "NVML_FI_DEV_POWER_AVERAGE", 185, raising=False)
    monkeypatch.setattr(nvidia.pynvml, "NVML_FI_DEV_POWER_INSTANT", 186, raising=False)
    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetFieldValues", average_only)
    assert boards.watts(0) == 90.0
    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetFieldValues", refuse)
    assert boards.watts(0) is None
    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetPowerUsage", lambda handle: 80_000, raising=False)
    assert boards.watts(0) == 80.0


def test_nobody_is_asked_for_processes_where_nobody_is_listed(nvml, monkeypatch):
    from harness.energy import boards

    source = open_gpus([0, 1])
    monkeypatch.setattr(boards, "own_processes", lambda: pytest.fail("a walk through /proc"))
    assert source.sample()[0].flags == ()


def test_a_board_that_lists_nobody_though_this_process_uses_it_tells_nothing(nvml, monkeypatch):
    from harness.energy import boards

    opened = open_gpus([0])._boards
    assert opened.notes() == ()
    monkeypatch.setattr(boards, "cuda_started", lambda: True)
    assert opened.notes() == ("who else uses the boards is not told",)


def test_the_power_of_a_window_is_the_largest_that_was_sampled_in_it(nvml):
    """Together, of the boards that count; what was before the window is not in it."""
    boards = open_gpus([0, 1])._boards
    nvml.power_mw = [900_000, 900_000]
    boards.sample()
    begun = time.perf_counter()
    for watts in ([100, 500], [300, 200], [200, 100]):
        nvml.power_mw = [each * 1000 for each in watts]
        boards.sample()
    nvml.power_mw = [50_000, 50_000]
    assert boards.largest_watts([0, 1], begun) == 600.0
    assert boards.largest_watts([0], begun) == 300.0
    nvml.power_mw = [400_000, 400_000]  # now
    assert boards.largest_watts([0, 1], begun) == 800.0
