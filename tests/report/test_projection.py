"""Measured energy extended to other work, held against what papers published."""

import argparse
import json
import math
from typing import NamedTuple

import pytest

from harness.commands.project import main
from harness.config.compose import config_dir
from harness.errors import UserError
from harness.record.record import read_record
from harness.report.projection import Workload, as_lines, project
from harness.report.site import Factor, Site
from harness.stats.projection import Estimate, forward_flops, published_energy_kwh, total, training_flops

REFERENCE = config_dir().parent / "results" / "reference"


class Published(NamedTuple):
    """A column of Patterson et al. 2021 (arXiv:2104.10350), table 4."""

    model: str
    chips: int
    days: float
    watts: float  # "Measured System Average Power per Accelerator, including memory, network interface, fans, host CPU"
    pue: float
    tflops: float  # "Measured Performance (TFLOPS/s)", of a chip
    flops: float  # "Total Computation (floating point operations)"
    kg_per_kwh: float  # gross
    printed_mwh: float
    printed_tonnes: float  # gross
    by_hours_mwh: float  # chips x hours x watts x PUE, worked out by hand from the columns


PATTERSON = [
    Published("Evolved Transformer NAS", 200, 6.8, 208, 1.10, 24.8, 2.91e21, 0.431, 7.5, 3.2, 7.5),
    Published("T5", 512, 20, 310, 1.12, 45.6, 4.05e22, 0.545, 85.7, 46.7, 85.3),
    Published("Meena", 1024, 30, 289, 1.09, 42.3, 1.12e23, 0.415, 232, 96.4, 232.3),
    Published("GShard-600B", 1024, 3.1, 288, 1.09, 48.0, 1.33e22, 0.201, 24.1, 4.8, 23.9),
    Published("Switch Transformer", 1024, 27, 245, 1.10, 34.4, 8.22e22, 0.403, 179, 72.2, 178.8),
    Published("GPT-3", 10_000, 14.8, 330, 1.10, 24.6, 3.14e23, 0.429, 1287, 552.1, 1289.4),
]
BY_MODEL = pytest.mark.parametrize("case", PATTERSON, ids=lambda case: case.model)


def phase(energy=100.0, tokens=1000, flops=1e12, low=0.8, high=1.2, random=0.1, repeats=3, **changes):
    """A phase of a record; `low` and `high` are shares of its energy."""
    return {
        "total_energy_j": energy, "tokens": tokens, "flops": flops, "repeats": repeats, "flags": [],
        "joules_per_token_low": energy * low / tokens, "joules_per_token_high": energy * high / tokens,
        "joules_per_token_relative_half_width": random,
        "energy_method": "modelled", "energy_components": "cpu", **changes,
    }  # fmt: skip


def record(status="ok", generation=None, **phases):
    return {
        "run_id": "a-run", "status": status,
        "cell": {"device_name": "CPU X", "precision": "fp32", "batch_size": 8},
        "environment": {"logical_cpus": 2, "gpus": []},
        "summary": {"phases": phases, **({"generation": generation} if generation else {})},
    }  # fmt: skip


def site(pue=1.0, grams=None, usd=None):
    def factor(value):
        return None if value is None else Factor(value=value, source="a test", year=2024)

    return Site(name="x", pue=factor(pue), carbon_intensity_g_per_kwh=factor(grams), price_usd_per_kwh=factor(usd))


@BY_MODEL
def test_published_energy_is_that_of_the_paper(case):
    mwh = published_energy_kwh(case.chips, case.days * 24, case.watts, case.pue) / 1000
    assert round(mwh, 1) == case.by_hours_mwh
    assert mwh == pytest.approx(case.printed_mwh, rel=0.01)  # The paper's hours are rounded.


@BY_MODEL
def test_a_chips_joules_per_flop_give_the_energy_and_the_carbon_of_the_paper(case):
    """One second of one chip, as a record; the whole training, as a projection."""
    chip = record(train=phase(energy=case.watts, flops=case.tflops * 1e12))
    work = Workload(parameters=case.flops / 6, tokens=1)
    found = project(chip, work, site(case.pue, case.kg_per_kwh * 1000))
    assert found.energy_j.value * case.pue / 3.6e9 == pytest.approx(case.printed_mwh, rel=0.006)
    assert found.carbon_g.value / 1e6 == pytest.approx(case.printed_tonnes, rel=0.015)


def test_gpt_3_from_its_size_and_its_tokens():
    """6ND is 3.15e23 where the paper has 3.14e23: 0.3 % more energy than it prints."""
    assert training_flops(175e9, 300e9) == pytest.approx(3.15e23)
    v100 = record(train=phase(energy=330, flops=24.6e12))
    found = project(v100, Workload(parameters=175e9, tokens=300e9), site(1.10, 429))
    assert found.energy_j.value * 1.10 / 3.6e9 == pytest.approx(1287 * 3.15 / 3.14, abs=0.5)
    assert found.carbon_g.value / 1e6 == pytest.approx(552.1 * 3.15 / 3.14, abs=0.3)


def test_a_forward_pass_is_a_third_of_training():
    assert forward_flops(7e9, 1) == 14e9
    assert training_flops(7e9, 1) == 3 * forward_flops(7e9, 1)


def test_an_interval_has_what_is_systematic_what_is_random_and_the_stated_factor():
    work = Workload(parameters=10, tokens=100)  # 6000 FLOPs at 1e-10 J
    energy = project(record(train=phase()), work).energy_j
    assert (energy.value, energy.low, energy.high) == pytest.approx((6e-7, 6e-7 * 0.8 * 0.9, 6e-7 * 1.2 * 1.1))
    wider = project(record(train=phase()), Workload(parameters=10, tokens=100, utilisation_factor=2)).energy_j
    assert (wider.value, wider.low, wider.high) == pytest.approx((6e-7, energy.low / 2, energy.high * 2))


def test_random_errors_of_phases_add_in_quadrature_and_systematic_ones_in_line():
    both = total([Estimate(30, 20, 40, 0.1), Estimate(40, 30, 60, 0.1)])
    assert (both.value, both.low, both.high) == (70, 50, 100)
    assert both.random == pytest.approx(5 / 70)  # 3 and 4 J


GENERATION = {"prompt_tokens_mean": 100.0, "output_tokens": 11}
GENERATED = record(
    generation=GENERATION,
    prefill=phase(energy=10, tokens=1000, flops=1e9),  # 0.01 J/token, 1e-8 J/FLOP
    decode=phase(energy=10, tokens=100, flops=1e8),  # 0.1 J/token, 1e-7 J/FLOP
)


def test_requests_to_the_measured_model_cost_its_joules_per_token():
    found = project(GENERATED, Workload(requests=10))
    amounts = {part.phase: (part.amount, part.unit) for part in found.parts}
    assert amounts == {"prefill": (1000, "token"), "decode": (100, "token")}  # The first of 11 comes of the prompt.
    assert found.energy_j.value == pytest.approx(10 + 10)
    assert found.energy_j.high == pytest.approx(20 * 1.2 * (1 + math.hypot(1, 1) / 20))
    longer = project(GENERATED, Workload(requests=10, prompt_tokens=200, output_tokens=1))
    assert longer.energy_j.value == pytest.approx(20)


def test_requests_to_another_model_cost_its_flops():
    found = project(GENERATED, Workload(requests=10, parameters=5e5))  # 2N = 1e6 FLOPs a token
    assert [part.cost.times(part.amount).value for part in found.parts] == pytest.approx([10.0, 10.0])
    assert [(part.amount, part.unit) for part in found.parts] == [(1e9, "FLOP"), (1e8, "FLOP")]


def reference(study, pattern):
    return sorted((REFERENCE / study).glob(pattern))[0]


def test_a_runs_own_work_costs_what_it_measured():
    measured = read_record(reference("scaling", "train-gpt-mini-*"))
    train = measured["summary"]["phases"]["train"]
    energy = project(measured, Workload(tokens=train["tokens"])).energy_j
    assert energy.value == pytest.approx(train["total_energy_j"])
    assert energy.low == pytest.approx(train["joules_per_token_ci_low"] * train["tokens"])
    assert energy.high == pytest.approx(train["joules_per_token_ci_high"] * train["tokens"])


def test_prefill_and_decode_add_up_to_the_requests_that_were_measured_apart():
    measured = read_record(reference("batch_size_curve", "generate-*-fp32-b8-*"))
    request = measured["summary"]["phases"]["request"]
    energy = project(measured, Workload(requests=1)).energy_j.value
    assert energy == pytest.approx(request["joules_per_sample"], rel=request["joules_per_token_relative_half_width"])


def test_every_figure_is_called_modelled_and_the_machine_is_named():
    lines = as_lines(project(record(train=phase()), Workload(parameters=175e9, tokens=300e9), site(1.5, 400, 0.1)))
    figures = lines[: lines.index("It rests on this:")][2:]
    assert [line.split(",")[0] for line in figures] == [
        "train", "energy (J)", "energy (kWh)", "carbon (g CO2e)", "cost (USD)",
    ]  # fmt: skip
    assert all("modelled" in line for line in figures)
    assert lines[1] == "measured: cpu energy, modelled, on CPU X in a machine of 2 logical CPUs and 0 GPUs; 3 repeats"
    told = " ".join(lines)
    assert "machines such as the one measured (CPU X in a machine of 2 logical CPUs and 0 GPUs)" in told
    assert "not on those that would be chosen for it" in told
    assert "6ND FLOPs" in told
    assert "No communication" in told
    assert "covers cpu alone" in told


def test_a_measured_figure_is_not_called_modelled():
    counters = record(train=phase(energy_method="measured_counter", flags=["contended_host"]))
    lines = as_lines(project(counters, Workload(tokens=10)))
    assert "energy (J), projected from measured counter energy: 1 (0.72 to 1.32)" in lines
    assert not any("modelled" in line for line in lines)
    assert "flags: contended_host" in lines[1]


@pytest.mark.parametrize(
    ("given", "work", "message"),
    [
        (record(train=phase(flops=None)), Workload(parameters=1, tokens=1), "(?s)no FLOPs of train.*leave --parameters"),
        (record(train=phase(flops=0)), Workload(parameters=1, tokens=1), "no FLOPs of train"),
        (record(score=phase()), Workload(tokens=1), "(?s)no phase train.*allowed: score.*task=train"),
        (record(train=phase()), Workload(requests=1, prompt_tokens=1, output_tokens=1), "(?s)no phase prefill.*=generate"),
        (record(train=phase()), Workload(requests=1), "does not tell the lengths of requests"),
        (record(train=phase(total_energy_j=None)), Workload(tokens=1), "no energy of train"),
        (record(train=phase(random=None, repeats=1)), Workload(tokens=1), r"(?s)no interval, with 1 repeat.*more repeats"),
        (record(status="oom", train=phase()), Workload(tokens=1), "its status is oom"),
        (record(train=phase()), Workload(), "either --tokens or --requests"),
        (record(train=phase()), Workload(tokens=1, requests=1), "either --tokens or --requests"),
        (record(train=phase()), Workload(tokens=1, output_tokens=2), "are of requests"),
        (record(train=phase()), Workload(tokens=0), "--tokens 0: out of range"),
        (record(train=phase()), Workload(tokens=math.nan), "--tokens nan: out of range"),
        (record(train=phase()), Workload(tokens=1, parameters=math.inf), "--parameters inf: out of range"),
        (record(train=phase()), Workload(tokens=1, utilisation_factor=0.5), "(?s)--utilisation-factor 0.5.*1 or more"),
        (GENERATED, Workload(requests=1, output_tokens=0.5), "--output-tokens 0.5: out of range"),
    ],
)  # fmt: skip
def test_what_cannot_be_projected_is_refused_with_a_remedy(given, work, message):
    with pytest.raises(UserError, match=message):
        project(given, work)


def options(path, **given):
    names = ("parameters", "tokens", "requests", "prompt_tokens", "output_tokens", "site")
    rest = {"utilisation_factor": 1.0, "json": False, "results_dir": "results"}
    return argparse.Namespace(record=str(path), **{**dict.fromkeys(names), **rest, **given})


def test_the_command_prints_text_and_json_of_the_same_figures(capsys):
    path = reference("scaling", "train-gpt-mini-*")
    assert main(options(path / "record.json", parameters=175e9, tokens=300e9, site="us")) == 0
    text = capsys.readouterr().out
    assert main(options(path, parameters=175e9, tokens=300e9, site="us", json=True)) == 0
    found = json.loads(capsys.readouterr().out)
    train = read_record(path)["summary"]["phases"]["train"]
    joules = 3.15e23 * train["total_energy_j"] / train["flops"]
    assert found["energy_j"]["value"] == pytest.approx(joules)
    assert found["energy_kwh"]["value"] == pytest.approx(joules / 3.6e6)
    assert found["carbon_g"]["value"] == pytest.approx(joules / 3.6e6 * 1.58 * 369)
    assert found["cost_usd"]["value"] == pytest.approx(joules / 3.6e6 * 1.58 * 0.0806)
    for figure in (found["energy_j"], found["energy_kwh"], found["carbon_g"], found["cost_usd"]):
        assert f"{figure['value']:.4g} ({figure['low']:.4g} to {figure['high']:.4g})" in text


def test_a_folder_without_a_record_is_refused(tmp_path):
    with pytest.raises(UserError, match="no record in it"):
        main(options(tmp_path, tokens=1))
    (tmp_path / "record.json").write_text("[]")
    with pytest.raises(UserError, match="its record cannot be read"):
        main(options(tmp_path, tokens=1))
