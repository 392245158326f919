import pytest

from harness.energy import cpu_model
from harness.energy.cpu_model import CpuModel, ThermalDesignPower, find_tdp, lower_curve, upper_curve
from harness.energy.figure import Method


@pytest.mark.parametrize(
    ("load", "low", "high"),
    [(0.0, 0.1, 0.12), (0.05, 0.1, 0.22), (0.1, 0.1, 0.32), (0.3, 0.3, 0.535), (0.5, 0.5, 0.75), (0.75, 0.75, 0.885),
     (1.0, 1.0, 1.02)],
)  # fmt: skip
def test_the_published_curves(load, low, high):
    assert lower_curve(load) == pytest.approx(low)
    assert upper_curve(load) == pytest.approx(high)


def test_a_known_cpu_gets_the_share_of_the_threads_that_are_seen():
    tdp = find_tdp("Intel(R) Xeon(R) Platinum 8480+ CPU @ 2.00GHz", 28)
    assert (tdp.low_w, tdp.high_w) == (87.5, 87.5)  # 350 W for 112 threads
    tdp = find_tdp("AMD EPYC 7763 64-Core Processor", 256)
    assert tdp.low_w == 560.0  # two sockets of 280 W


def test_an_unknown_cpu_widens_the_interval_and_says_so():
    tdp = find_tdp("Unheard-of 9000", 4)
    assert tdp.low_w == pytest.approx(4 * 500 / 384)
    assert tdp.high_w == pytest.approx(4 * 95 / 8)
    assert "TDP of 'Unheard-of 9000' unknown" in tdp.origin


def test_a_configured_tdp_wins():
    assert find_tdp("AMD EPYC 7763 64-Core Processor", 2, given_w=42.0).low_w == 42.0


def test_energy_is_the_interval_between_the_curves(monkeypatch):
    seconds = iter([100.0, 105.0])
    monkeypatch.setattr(cpu_model, "own_cpu_seconds", lambda: next(seconds))
    model = CpuModel(ThermalDesignPower(80.0, 80.0, "given"), threads=4, reason="no RAPL")
    state = model.begin()
    [figure] = model.end(state, duration_s=2.5)  # 5 CPU seconds of 10: a load of a half
    assert figure.low_j == pytest.approx(0.5 * 80 * 2.5)
    assert figure.high_j == pytest.approx(0.75 * 80 * 2.5)
    assert figure.value_j == pytest.approx(125.0)
    assert figure.method is Method.MODELLED
    assert figure.notes == ("given", "no RAPL")


def test_a_neighbours_load_does_not_enter(monkeypatch):
    """Only this process's CPU seconds are asked for; a busy machine changes nothing."""
    import multiprocessing
    import time

    def spin(stop_at):
        while time.monotonic() < stop_at:
            pass

    stranger = multiprocessing.get_context("fork").Process(target=spin, args=(time.monotonic() + 0.5,))
    before = cpu_model.time.process_time()
    stranger.start()
    time.sleep(0.3)
    assert cpu_model.time.process_time() - before < 0.1
    stranger.join()
