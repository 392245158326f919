import pytest

from harness.energy.figure import Method
from harness.energy.gpu import open_gpus
from harness.energy.meter import EnergyMeter


def test_the_boards_that_the_run_uses_are_summed(nvml):
    source = open_gpus([0, 1])
    state = source.begin()
    nvml.energy_mj[0] += 7_000
    nvml.energy_mj[1] += 5_500
    [figure] = source.end(state, 1.0)
    assert figure.value_j == pytest.approx(12.5)
    assert figure.method is Method.MEASURED_COUNTER
    assert "2 x Simulated GPU" in figure.source


def test_a_board_that_the_run_does_not_use_is_left_out(nvml):
    source = open_gpus([0])
    state = source.begin()
    nvml.energy_mj[0] += 1_000
    nvml.energy_mj[1] += 9_000
    assert source.end(state, 1.0)[0].value_j == pytest.approx(1.0)


def test_windows_may_nest(nvml):
    source = open_gpus([0])
    outer = source.begin()
    nvml.energy_mj[0] += 1_000
    inner = source.begin()
    nvml.energy_mj[0] += 2_000
    assert source.end(inner, 1.0)[0].value_j == pytest.approx(2.0)
    assert source.end(outer, 1.0)[0].value_j == pytest.approx(3.0)


def test_a_counter_that_did_not_move_is_unavailable_and_not_zero(nvml):
    source = open_gpus([0, 1])
    state = source.begin()
    nvml.energy_mj[0] += 1_000
    [figure] = source.end(state, 0.01)
    assert figure.value_j is None
    assert "did not move" in figure.notes[0]


def test_a_counter_that_runs_backwards_is_unavailable(nvml):
    nvml.energy_mj[0] = 5_000
    source = open_gpus([0])
    state = source.begin()
    nvml.energy_mj[0] = 4_000
    [figure] = source.end(state, 1.0)
    assert figure.value_j is None
    assert figure.flags == ("counter_jump",)


def test_more_than_any_board_draws_is_refused(nvml):
    source = open_gpus([0, 1])
    state = source.begin()
    nvml.energy_mj[0] += 500_000
    nvml.energy_mj[1] += 6_000_000
    [figure] = source.end(state, 1.0)
    assert figure.value_j is None
    assert figure.flags == ("counter_jump",)
    assert "500 to 6000 J in 1 s" in figure.notes[0]


def test_a_board_that_does_not_tell_its_temperature_still_tells_its_power(nvml):
    import pynvml

    def refuse(*_):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    from zeus.device.gpu import nvidia

    nvidia.pynvml.nvmlDeviceGetTemperatureV = refuse
    [sample] = open_gpus([1]).sample()
    assert (sample.component, sample.watts, sample.temperature_c) == ("gpu1", 100.0, None)


@pytest.mark.parametrize("when", ["before", "inside"])
def test_a_lost_gpu_is_unavailable(nvml, when):
    meter = EnergyMeter([open_gpus([0])])
    if when == "before":
        nvml.lost.add(0)
    window = meter.begin("score")
    nvml.lost.add(0)
    [figure] = meter.end(window).figures
    meter.close()
    assert figure.value_j is None
    assert figure.flags == ("counter_lost",)
    assert "GPU is lost" in figure.notes[0]


def test_too_few_gpus_are_named(nvml):
    with pytest.raises(LookupError, match=r"sees 2 GPU\(s\), and the run uses number 2"):
        open_gpus([0, 2])


@pytest.mark.parametrize("visible", ["", "MIG-1234", "GPU-8f6d"])
def test_devices_that_zeus_cannot_index_are_named(nvml, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(LookupError, match="no GPU counter"):
        open_gpus([0])


def test_no_gpu_at_all_is_named(monkeypatch):
    from zeus.device import gpu

    monkeypatch.setattr(gpu, "_gpus", None)
    monkeypatch.setattr(gpu, "nvml_is_available", lambda: False)
    monkeypatch.setattr(gpu, "amdsmi_is_available", lambda: False)
    with pytest.raises(LookupError, match="no GPU counter"):
        open_gpus([0])


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
