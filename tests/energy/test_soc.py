import types

import pytest

from harness.config.compose import compose_cell
from harness.energy.choose import open_sources
from harness.energy.soc import SocSource


class Chip:
    """A Zeus SoC that answers each window with the same measurement."""

    def __init__(self, **millijoules):
        self._measurement = types.SimpleNamespace(**millijoules)
        self._open = set()

    def begin_window(self, key, restart):
        self._open.add(key)

    def end_window(self, key):
        self._open.remove(key)
        return self._measurement


@pytest.mark.parametrize(
    ("millijoules", "joules"),
    [
        ({"cpu_total_mj": 3000, "gpu_mj": 1500, "dram_mj": 500, "ane_mj": 0, "gpu_sram_mj": None}, 5.0),
        ({"total_energy_mj": 7000.0, "cpu_energy_mj": 3000.0, "gpu_energy_mj": 2000.0}, 7.0),
        ({"total_energy_mj": None, "cpu_energy_mj": 3000.0, "gpu_energy_mj": 2000.0}, 5.0),
    ],
)
def test_millijoules_become_joules_and_parts_are_counted_once(millijoules, joules):
    source = SocSource(Chip(**millijoules))
    outer, inner = source.begin(), source.begin()
    assert source.end(inner, 1.0)[0].value_j == pytest.approx(joules)
    [figure] = source.end(outer, 1.0)
    assert figure.value_j == pytest.approx(joules)
    assert figure.component == "soc"


def test_a_chip_that_gives_nothing_is_unavailable_and_not_zero():
    source = SocSource(Chip(cpu_total_mj=None, gpu_mj=None))
    [figure] = source.end(source.begin(), 1.0)
    assert figure.value_j is None


def test_a_superchips_figure_holds_its_cpu(nvml, rapl, monkeypatch):
    config = compose_cell(["hardware=cuda"]).config
    assert [type(source).__name__ for source in open_sources(config.energy, config.hardware)] == [
        "GpuCounters",
        "RaplSource",
    ]
    import zeus.device

    for board in zeus.device.get_gpus().gpus:
        monkeypatch.setattr(board, "_is_grace_hopper", True)
    [source] = open_sources(config.energy, config.hardware)
    assert source.describe()[0].covers == "superchip modules, their CPUs and memory included"


@pytest.mark.parametrize("hardware", ["cpu", "cuda"])
def test_a_chip_takes_the_place_of_the_cpu_and_of_its_gpu(monkeypatch, nvml, hardware):
    from zeus.device import soc

    monkeypatch.setattr(soc, "_soc", Chip(total_energy_mj=1.0))
    config = compose_cell([f"hardware={hardware}"]).config
    assert [type(source) for source in open_sources(config.energy, config.hardware)] == [SocSource]


def test_a_sum_of_some_parts_does_not_call_itself_the_chip():
    source = SocSource(Chip(cpu_total_mj=3000, gpu_mj=None, dram_mj=500))
    [figure] = source.end(source.begin(), 1.0)
    assert figure.value_j == pytest.approx(3.5)
    assert "gpu" not in figure.covers
    assert figure.covers.startswith("the chip's ")
