import time

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
    figure = source.end(state, 0.01)[0].whole()
    assert figure.value_j is None
    assert "did not move" in figure.notes[0]
    [figure] = source.end(state, 2.0)  # Longer than a counter may stand still, also in a part of a repeat.
    assert figure.value_j is None
    assert figure.flags == ("counter_stuck",)


def test_a_part_of_a_repeat_without_an_update_has_the_boards_power_for_an_error(nvml):
    source = open_gpus([0, 1])  # Their counters stand still: a period of 0.6 s is assumed.
    state = source.begin()
    nvml.energy_mj[0] += 9_000
    nvml.power_mw = [90_000, 250_000]
    [figure] = source.end(state, 0.1)
    assert figure.parts_j == (9.0, 0.0)
    assert figure.quantisation_j == pytest.approx((90 + 250) * 0.6 / 1.96)  # one update of both
    nvml.power_mw = [0, 0]
    assert source.end(state, 0.1)[0].value_j is None  # 0 W is no power to go by


def test_a_part_without_an_update_of_a_board_without_power_is_unavailable(nvml, monkeypatch):
    source = open_gpus([0])
    state = source.begin()
    monkeypatch.setattr(source._boards, "watts", lambda index: None)
    assert source.end(state, 0.1)[0].value_j is None


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


def test_a_fault_of_the_cpus_counters_does_not_take_the_gpus_away(nvml, rapl):
    """Zeus's own monitor opens both, whatever it is asked for."""
    from zeus.monitor import ZeusMonitor

    (rapl.root / "intel-rapl:0" / "max_energy_range_uj").unlink()
    with pytest.raises(Exception, match="max energy range"):
        ZeusMonitor(gpu_indices=[0], cpu_indices=[])
    state = (source := open_gpus([0])).begin()
    nvml.energy_mj[0] += 1_000
    assert source.end(state, 0.1)[0].value_j == pytest.approx(1.0)


def test_a_board_that_refuses_its_counter_when_asked_is_read_by_its_power(nvml, monkeypatch):
    from zeus.device.gpu import nvidia

    def refuse(handle):
        raise nvidia.pynvml.NVMLError(nvidia.pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetTotalEnergyConsumption", refuse)
    [info] = open_gpus([0]).describe()
    assert info.method is Method.INTEGRATED_POWER


def test_a_board_in_mig_mode_is_refused(nvml, monkeypatch):
    """Its counter holds what every instance draws, also those of others."""
    from zeus.device.gpu import nvidia

    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetMigMode", lambda handle: [handle, handle], raising=False)
    assert open_gpus([0]).describe()
    with pytest.raises(LookupError, match="GPU 1 is in MIG mode"):
        open_gpus([0, 1])


def test_boards_are_found_by_what_cuda_calls_them(nvml, monkeypatch):
    from zeus.device.gpu import nvidia

    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetUUID", lambda handle: f"GPU-AA-{handle}", raising=False)
    source = open_gpus([0], uuids=["aa-1"])
    state = source.begin()
    nvml.energy_mj[0] += 1_000
    nvml.energy_mj[1] += 9_000
    assert source.end(state, 1.0)[0].value_j == pytest.approx(9.0)
    with pytest.raises(LookupError, match="no board that Zeus sees is the GPU aa-2"):
        open_gpus([0], uuids=["aa-2"])


def test_the_first_of_several_devices_may_count_alone_for_a_while(nvml):
    meter = EnergyMeter([open_gpus([0, 1])])

    def spent():
        window = meter.begin("score")
        nvml.energy_mj[0] += 1_000
        nvml.energy_mj[1] += 500
        return meter.end(window).energy.value_j

    assert spent() == pytest.approx(1.5)
    with meter.first_device():
        assert spent() == pytest.approx(1.0)
    assert spent() == pytest.approx(1.5)
    meter.close()


def test_boards_of_another_vendor_are_found_by_number(nvml, monkeypatch):
    """HIP and AMD SMI number them alike through Zeus, which tells no names."""
    from harness.energy import boards, gpu

    for module in (boards, gpu):
        monkeypatch.setattr(module, "is_nvidia", lambda gpus: False)
    [info] = open_gpus([1], uuids=["whatever"]).describe()
    assert info.source.startswith("AMD SMI total energy")


def test_all_boards_are_sampled_while_the_first_counts_alone(nvml):
    """So that a window around has no gap in the others' power."""
    nvml.architecture = 4  # Pascal has no counter
    meter = EnergyMeter([open_gpus([0, 1])])
    whole = meter.begin("run")
    with meter.first_device():
        part = meter.begin("score")
        time.sleep(0.7)
        alone = meter.end(part)
    both = meter.end(whole)
    meter.close()
    assert alone.energy.value_j == pytest.approx(100 * alone.duration_s, rel=0.01)
    assert both.energy.value_j == pytest.approx(200 * both.duration_s, rel=0.01)
