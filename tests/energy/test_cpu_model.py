import os

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


@pytest.mark.parametrize(("control", "times"), [("on", 1), ("notsupported", 1), ("off", 2), ("forceoff", 2), (None, 1)])
def test_a_core_without_its_second_thread_is_a_whole_core(tmp_path, monkeypatch, control, times):
    from harness.energy import host

    monkeypatch.setattr(host, "SMT_CONTROL", tmp_path / "control")
    if control is not None:
        host.SMT_CONTROL.write_text(f"{control}\n")
    assert host.hardware_threads() == times * os.cpu_count()


def test_a_configured_tdp_wins():
    assert find_tdp("AMD EPYC 7763 64-Core Processor", 2, given_w=42.0).low_w == 42.0


def model_of(monkeypatch, own, everyone):
    """A CPU of 80 W and 4 threads, whose CPU seconds at the two edges are given."""
    monkeypatch.setattr(cpu_model, "own_cpu_seconds", iter(own).__next__)
    monkeypatch.setattr(cpu_model, "machine_cpu_seconds", iter(everyone).__next__)
    return CpuModel(ThermalDesignPower(80.0, 80.0, "given"), threads=4, reason="no RAPL")


def test_energy_is_the_interval_between_the_curves(monkeypatch):
    model = model_of(monkeypatch, own=[100.0, 105.0], everyone=[500.0, 505.0])
    [figure] = model.end(model.begin(), duration_s=2.5)  # 5 CPU seconds of 10: a load of a half
    assert figure.low_j == pytest.approx(0.5 * 80 * 2.5)
    assert figure.high_j == pytest.approx(0.75 * 80 * 2.5)
    assert figure.value_j == pytest.approx(125.0)
    assert figure.method is Method.MODELLED
    assert figure.notes == ("given", "no RAPL")


def test_a_neighbour_that_doubles_the_time_changes_nothing(monkeypatch):
    alone = model_of(monkeypatch, own=[0.0, 10.0], everyone=[0.0, 10.0])
    [quiet] = alone.end(alone.begin(), duration_s=2.5)
    beside = model_of(monkeypatch, own=[0.0, 10.0], everyone=[0.0, 20.0])
    [busy] = beside.end(beside.begin(), duration_s=5.0)
    assert (busy.value_j, busy.low_j, busy.high_j) == pytest.approx((quiet.value_j, quiet.low_j, quiet.high_j))


def test_children_count_while_they_live_and_after():
    import subprocess
    import sys

    from harness.energy.host import own_cpu_seconds

    code = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    before = own_cpu_seconds()
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    living = own_cpu_seconds() - before
    child.communicate(b"\n")
    ended = own_cpu_seconds() - before
    assert 0.48 < living < 1.0
    assert living - 0.02 <= ended < living + 0.3


def test_clocks_that_disagree_by_a_little_do_no_harm(monkeypatch):
    model = model_of(monkeypatch, own=[0.0, 10.1], everyone=[0.0, 10.0])
    [figure] = model.end(model.begin(), duration_s=2.5)
    assert figure.high_j == pytest.approx(1.02 * 80 * 10.1 / 4)
