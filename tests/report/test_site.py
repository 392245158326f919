"""Carbon and cost of energy, by pinned factors."""

import math
import subprocess
import sys

import pandas as pd
import pytest

from harness.config.compose import compose_cell, config_dir, resolved_config
from harness.errors import UserError
from harness.report.site import Factor, Site, load_site, per_joule, site_sentence, with_site

KWH = 3.6e6
NAMES = sorted(path.stem for path in (config_dir() / "site").glob("*.yaml"))


def factor(value, low=None, high=None):
    return Factor(value=value, source="a test", year=2024, low=low, high=high)


SITE = Site(
    name="here",
    pue=factor(1.5, 1.4, 1.6),
    carbon_intensity_g_per_kwh=factor(400, 300, 500),
    price_usd_per_kwh=factor(0.1),
)


def runs(*energies):
    return pd.DataFrame(energies, columns=["run_energy_j", "run_energy_low_j", "run_energy_high_j"])


def test_carbon_and_cost_are_energy_times_pue_times_factor_each_end_with_its_own():
    given = runs([2 * KWH, 1 * KWH, 3 * KWH])
    [row] = with_site(given, SITE).to_dict("records")
    assert row["carbon_g"] == pytest.approx(2 * 1.5 * 400)
    assert row["carbon_g_low"] == pytest.approx(1 * 1.4 * 300)
    assert row["carbon_g_high"] == pytest.approx(3 * 1.6 * 500)
    assert row["cost_usd"] == pytest.approx(0.30)
    assert row["cost_usd_low"] == pytest.approx(0.14)
    assert row["cost_usd_high"] == pytest.approx(0.48)
    assert list(given.columns) == ["run_energy_j", "run_energy_low_j", "run_energy_high_j"]


def test_what_is_missing_stays_missing():
    free = Site(name="x", pue=factor(1), carbon_intensity_g_per_kwh=factor(100), price_usd_per_kwh=None)
    found = with_site(runs([KWH, None, None], [None, None, None]), free)
    assert found["carbon_g"].tolist()[0] == pytest.approx(100)
    assert math.isnan(found["carbon_g"].iloc[1])
    assert found[["carbon_g_low", "carbon_g_high", "cost_usd", "cost_usd_low", "cost_usd_high"]].isna().all().all()
    nothing = with_site(runs([None, None, None]), SITE)  # A column of None has no type of number.
    assert nothing["carbon_g"].isna().all()


# Patterson et al. 2021, table 4: MWh of the building, gross kg CO2e/kWh, and the tonnes that they print.
@pytest.mark.parametrize(("mwh", "kg_per_kwh", "tonnes"), [(1287, 0.429, 552.1), (85.7, 0.545, 46.7)])
def test_published_emissions_come_out(mwh, kg_per_kwh, tonnes):
    site = Site(name="x", pue=factor(1.1), carbon_intensity_g_per_kwh=factor(kg_per_kwh * 1000), price_usd_per_kwh=None)
    machine_j = mwh * 1000 * KWH / 1.1
    assert with_site(runs([machine_j] * 3), site)["carbon_g"].iloc[0] / 1e6 == pytest.approx(tonnes, abs=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_every_site_of_conf_tells_its_sources(name):
    site = load_site(name)
    assert site.name == name
    assert 1 < site.pue.value < 2
    assert per_joule(site)["carbon_g"].value == pytest.approx(1.58 * site.carbon_intensity_g_per_kwh.value / KWH)
    sentence = site_sentence(site)
    assert "Uptime Institute" in sentence
    assert "Ember" in sentence
    assert "2023" in sentence
    assert ("USD/kWh" in sentence) == (site.price_usd_per_kwh is not None)


def test_the_published_factors_are_those_that_were_looked_up():
    """Ember's figures of 2023, which Our World in Data and Statista print."""
    intensity = {name: load_site(name).carbon_intensity_g_per_kwh.value for name in NAMES}
    assert intensity == {
        "china": 582, "france": 56, "germany": 381, "india": 713, "norway": 30, "sweden": 40.7, "us": 369, "world": 481,
    }  # fmt: skip


def test_a_site_is_no_part_of_a_cell():
    assert "site" not in resolved_config(compose_cell([]).config)


GOOD = """
pue: {value: 1.2, low: 1.1, high: 1.3, source: our own meter, year: 2025}
carbon_intensity_g_per_kwh: {value: 25, source: our grid, year: 2025}
price_usd_per_kwh: null
"""


def test_ones_own_yaml_is_taken_by_its_path(tmp_path):
    path = tmp_path / "cellar.yaml"
    path.write_text(GOOD)
    site = load_site(str(path))
    assert (site.name, site.pue.value, site.pue.high) == ("cellar", 1.2, 1.3)
    assert site.price_usd_per_kwh is None
    assert site_sentence(site) == (
        "Carbon and cost at site cellar: energy of the components measured x PUE 1.2, 1.1 to 1.3 (our own meter, 2025); "
        "carbon x 25 g CO2e/kWh (our grid, 2025); cost x an unknown factor, so that it is left empty."
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: 1.2, low: 1.1", "value: 0.9, low: 0.9", "pue: a building uses at least what its machines use"),
        ("value: 1.2", "value: 1.4", "pue: the value lies outside low and high"),
        ("low: 1.1", "least: 1.1", "(?s)pue.least: Unexpected.*allowed: value, source, year, low, high"),
        ("price_usd_per_kwh: null", "", "(?s)price_usd_per_kwh: Field required.*allowed: pue, carbon_intensity"),
        ("value: 25", "value: -25", "carbon_intensity_g_per_kwh.value: Input should be greater than or equal to 0"),
        ("source: our grid, ", "", "(?s)carbon_intensity_g_per_kwh.source: Field required"),
        ("pue: {", "pue: [", "not a YAML file"),
        (GOOD, "just a word", "not a mapping"),
    ],
)
def test_a_wrong_yaml_is_refused_with_its_key(tmp_path, old, new, message):
    path = tmp_path / "own.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UserError, match=message):
        load_site(str(path))


def test_an_unknown_name_lists_the_sites():
    with pytest.raises(UserError, match=r"(?s)site germny: no such site.*allowed: china, .*Did you mean 'germany'\?"):
        load_site("germny")


def test_reporting_carbon_needs_no_torch():
    modules = "harness.report.site, harness.report.projection, harness.commands.project"
    code = f"import sys, {modules}; assert not {{'torch', 'transformers', 'lightning'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
