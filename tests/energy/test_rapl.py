import pytest

from harness.energy.figure import Method
from harness.energy.rapl import CounterError, RaplSource


def by_component(figures):
    return {figure.component: figure for figure in figures}


def test_packages_and_memory_are_summed_and_psys_is_left_out(rapl):
    source = RaplSource.open()
    state = source.begin()
    for zone, joules in (("package-0", 30.0), ("package-1", 12.0), ("psys", 100.0), ("dram", 5.0)):
        rapl.add_j(zone, joules)
    figures = by_component(source.end(state, 1.0))
    assert set(figures) == {"cpu", "dram"}
    assert figures["cpu"].value_j == pytest.approx(42.0)
    assert figures["dram"].value_j == pytest.approx(5.0)
    assert figures["cpu"].method is Method.MEASURED_COUNTER


def test_a_wrap_inside_a_window_is_recovered_exactly(rapl):
    rapl.add_j("package-0", 990.0)
    source = RaplSource.open()
    state = source.begin()
    rapl.add_j("package-0", 30.0)  # the range is 1,000 J
    rapl.add_j("package-1", 5.0)
    assert int(rapl.counter("package-0").read_text()) == 20_000_000
    assert by_component(source.end(state, 1.0))["cpu"].value_j == pytest.approx(35.0)


def test_windows_may_nest_and_overlap(rapl):
    source = RaplSource.open()
    outer = source.begin()
    rapl.add_cpu_j(1.0)
    inner = source.begin()
    rapl.add_cpu_j(2.0)
    crossing = source.begin()
    assert by_component(source.end(inner, 1.0))["cpu"].value_j == pytest.approx(2.0)
    rapl.add_cpu_j(4.0)
    assert by_component(source.end(outer, 1.0))["cpu"].value_j == pytest.approx(7.0)
    assert by_component(source.end(crossing, 1.0))["cpu"].value_j == pytest.approx(4.0)


def test_an_impossible_jump_is_refused(rapl):
    rapl.range_uj = 10**12
    for path in rapl.root.rglob("max_energy_range_uj"):
        path.write_text(str(10**12))
    source = RaplSource.open()
    state = source.begin()
    rapl.add_j("package-0", 100_000.0)
    figure = by_component(source.end(state, 0.1))["cpu"]
    assert figure.value_j is None
    assert figure.method is Method.UNAVAILABLE
    assert "moved by 100000 J, which it cannot draw" in figure.notes[0]
    assert figure.flags == ("counter_jump",)


@pytest.mark.parametrize(("zone", "component", "joules"), [("package-0", "cpu", 250.0), ("dram", "dram", 100.0)])
def test_more_than_a_zone_draws_is_refused(rapl, zone, component, joules):
    source = RaplSource.open()
    state = source.begin()
    for other in ("package-0", "package-1", "dram"):
        rapl.add_j(other, 1.0)
    rapl.add_j(zone, joules)  # 0.1 s of slack: a package may draw 100 J in it, memory 40 J
    figure = by_component(source.end(state, 0.01))[component]
    assert figure.value_j is None
    assert figure.flags == ("counter_jump",)


def test_a_counter_that_disappears_leaves_no_figure_for_its_component(rapl):
    source = RaplSource.open()
    state = source.begin()
    rapl.add_j("dram", 3.0)
    rapl.counter("package-1").unlink()
    figures = by_component(source.end(state, 1.0))
    assert figures["cpu"].value_j is None
    assert "cannot be read" in figures["cpu"].notes[0]
    assert figures["dram"].value_j == pytest.approx(3.0)


def test_a_counter_that_stands_still_is_unavailable_and_not_zero(rapl):
    source = RaplSource.open()
    state = source.begin()
    rapl.add_j("package-0", 3.0)
    rapl.add_j("package-1", 2.0)
    figures = by_component(source.end(state, 1.0))
    assert figures["cpu"].value_j == pytest.approx(5.0)
    assert figures["dram"].value_j is None
    assert "did not move" in figures["dram"].notes[0]


def test_one_package_that_stands_still_is_no_package_of_0_joules(rapl):
    source = RaplSource.open()
    state = source.begin()
    rapl.add_j("package-0", 3.0)
    cpu = by_component(source.end(state, 1.0))["cpu"]
    assert cpu.value_j is None
    assert cpu.flags == ("counter_stuck",)


def test_no_package_is_not_an_empty_sum(rapl):
    for zone in ("package-0", "package-1"):
        (rapl.counter(zone).parent / "name").write_text("psys")
    with pytest.raises(CounterError, match="no CPU package"):
        RaplSource.open()
