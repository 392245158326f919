"""Cells with several seeds as one row: means, intervals, marks, tables, figures and sentences, by hand."""

import json

import pandas as pd
import pytest

from harness.__main__ import main
from harness.metrics.registry import BY_NAME
from harness.report.collect import collect
from harness.report.columns import means_printed, with_half_width
from harness.report.figures import write_figures
from harness.report.findings import findings
from harness.report.kinds.pareto import probabilities
from harness.report.marks import marked
from harness.report.seeds import is_over_seeds, over_seeds, run_ids_of
from harness.report.spec import FigureSpec
from harness.report.warnings import warnings
from tests.report.studies import record, write_study


def seeded(model, seed, cost, ppl, bits, **cell):
    """A run of a cell that says its whole configuration, as real ones do."""
    entry = record(model, cost=cost, ppl=ppl, seed=seed, **cell)
    entry |= {"run_id": f"{model}-s{seed}", "config": {"model": model, "seed": seed, "study": "s"}}
    entry["quality"] |= {"bits_per_byte": bits, "cross_entropy_nats": 3.0}
    return entry


# Two models, three seeds each: the small one costs 9, 10 and 11 mJ, the large one twice as much.
STUDY = [
    *(seeded("small", s, c, p, b) for s, c, p, b in ((0, 0.009, 40.0, 2.0), (1, 0.010, 50.0, 2.1), (2, 0.011, 62.5, 2.2))),
    *(seeded("large", s, c, p, b) for s, c, p, b in ((0, 0.018, 20.0, 1.5), (1, 0.020, 25.0, 1.6), (2, 0.022, 31.25, 1.7))),
]  # fmt: skip


@pytest.fixture
def study(tmp_path):
    return collect(write_study(tmp_path / "results", *STUDY))


@pytest.fixture
def means(study):
    return study.means.set_index("model")


def test_each_cell_is_one_row_with_its_runs(study):
    assert len(study.runs) == 6
    assert len(study.means) == 2
    assert list(study.means["seeds"]) == [3, 3]
    assert run_ids_of(study.means) == sorted(study.runs["run_id"])
    assert list(study.means["run_id"]) == ["large-s0 and 2 more", "small-s0 and 2 more"]


def test_means_and_their_intervals_by_hand(means):
    """9, 10, 11: 10 with 1 * 4.3027 / sqrt(3) = 2.4841. 40, 50, 62.5: their cube root of the product is 50."""
    small = means.loc["small"]
    assert small["joules_per_token"] == pytest.approx(0.010)
    assert small["joules_per_token_ci_low"] == pytest.approx(0.010 - 0.0024841, abs=1e-7)
    assert small["joules_per_token_relative_half_width"] == pytest.approx(0.24841, abs=1e-5)
    assert small["joules_per_token_relative_half_width_by"] == "Student's t over seeds"
    assert small["perplexity"] == pytest.approx(50.0)
    assert small["bits_per_byte"] == pytest.approx(2.1)


def test_a_rows_figures_belong_together(means):
    """Throughputs are 10 / cost: 1111, 1000, 909; their harmonic mean is 3 / (0.0009 + 0.001 + 0.0011) = 1000."""
    small = means.loc["small"]
    assert small["tokens_per_second"] == pytest.approx(1000.0)
    assert small["joules_per_token"] * small["tokens_per_second"] == pytest.approx(small["mean_power_w"])


def test_what_is_the_same_for_all_seeds_has_no_interval_of_no_width(means):
    assert means.loc["small", "cross_entropy_nats"] == 3.0
    assert "cross_entropy_nats_ci_low" not in means or pd.isna(means.loc["small", "cross_entropy_nats_ci_low"])
    assert means.loc["small", "num_parameters"] == 1000


def test_what_one_seed_lacks_is_missing_in_the_mean(tmp_path):
    entries = json.loads(json.dumps(STUDY))
    del entries[1]["quality"]["bits_per_byte"]
    rows = collect(write_study(tmp_path / "results", *entries)).means.set_index("model")
    assert pd.isna(rows.loc["small", "bits_per_byte"])
    assert rows.loc["large", "bits_per_byte"] == pytest.approx(1.6)


def test_runs_of_one_seed_stay_as_they_are(tmp_path):
    collected = collect(write_study(tmp_path / "results", *STUDY[:4]))
    large = collected.means.set_index("model").loc["large"]
    assert large["seeds"] == 1
    assert large["run_ids"] == ["large-s0"]
    assert large["joules_per_token_relative_half_width"] == 0.03
    assert large["joules_per_token_ci_high"] == pytest.approx(0.036)


def test_a_study_without_second_seeds_has_no_means(tmp_path):
    runs = collect(write_study(tmp_path / "results", STUDY[0], STUDY[3])).runs
    assert over_seeds(runs) is runs
    assert not is_over_seeds(runs)


def test_two_runs_of_one_seed_are_no_two_seeds(tmp_path):
    """Twice seed 0 and once seed 1: (9 + 11) / 2 = 10 and 12 give 11, not the 10.67 of three."""
    again = {**seeded("small", 0, 0.011, 40.0, 2.0), "run_id": "again"}
    entries = [STUDY[0], again, seeded("small", 1, 0.012, 50.0, 2.1)]
    [row] = collect(write_study(tmp_path / "results", *entries)).means.to_dict("records")
    assert row["seeds"] == 2
    assert row["joules_per_token"] == pytest.approx(0.011)
    only = collect(write_study(tmp_path / "others", STUDY[0], again))
    assert not is_over_seeds(only.means)


def test_other_machines_methods_and_studies_are_no_one_mean(tmp_path):
    for name, change in (
        ("machine", {"environment_fingerprint": "other"}),
        ("study", {"study": "t"}),
        ("settings", {"config": {"model": "small", "seed": 1, "study": "s", "batch_size": 2}}),
        ("no settings", {"config": {}}),
    ):
        collected = collect(write_study(tmp_path / name, STUDY[0], {**STUDY[1], **change}))
        assert not is_over_seeds(collected.means), name


def test_flags_of_any_seed_are_flags_of_the_mean(tmp_path):
    entries = json.loads(json.dumps(STUDY[:2]))
    entries[1]["summary"]["phases"]["score"]["flags"] = ["drift"]
    [row] = collect(write_study(tmp_path / "results", *entries)).means.to_dict("records")
    assert row["flags"] == "contended_host, drift"


def test_ratios_are_those_of_the_means(means):
    """20 / 10 mJ, each known to 24.8 %: exp(hypot(0.248, 0.248)) = 1.421."""
    assert means.loc["large", "energy_ratio"] == pytest.approx(2.0)
    assert means.loc["large", "energy_ratio_ci_high"] == pytest.approx(2.0 * 1.4209, rel=1e-3)
    assert means.loc["small", "energy_ratio"] == 1.0


def test_losses_are_marked_by_welch_over_seeds(study, means):
    """Of logarithms of 2, 2.1, 2.2 and 1.5, 1.6, 1.7, by scipy's ttest_ind(equal_var=False): p = 0.00482."""
    assert means.loc["large", "p_best_likelihood"] == 1.0
    assert means.loc["small", "p_best_likelihood"] == pytest.approx(0.00482, abs=1e-5)
    assert list(marked(study.means, BY_NAME["bits_per_byte"])) == [True, False]


def test_numbers_are_printed_with_half_of_their_interval():
    metric = BY_NAME["joules_per_token"]
    assert with_half_width(0.010, 0.0024841, metric) == "10.0 ± 2.5"
    assert with_half_width(12.3456, 2.1, metric) == "12300 ± 2100"
    assert with_half_width(50.0, 0.0312, BY_NAME["perplexity"]) == "50.000 ± 0.031"


def test_a_mean_without_interval_is_printed_alone(study):
    assert means_printed(study.means, BY_NAME["cross_entropy_nats"]) == ["3", "3"]


def test_the_sentence_speaks_of_means(study):
    assert findings(study)[1] == (
        "score (chitchat, means over 3 seeds): the cheapest is small (energy to score text 2.500 [1.879 to 3.121] "
        "mJ/byte, bits per byte 2.100 [1.852 to 2.348]). The best is large (bits per byte 1.600 [1.352 to 1.848]), at 2 "
        "times the energy of the cheapest."
    )


def test_seeds_without_a_result_are_told(tmp_path):
    lost = {**seeded("small", 3, 0.01, 50.0, 2.1), "status": "invalid", "quality": {}, "summary": {}}
    collected = collect(write_study(tmp_path / "results", *STUDY, lost))
    assert collected.means.set_index("model").loc["small", "seeds"] == 3
    assert any("without small-s3 (invalid). Means are over the others" in each for each in warnings(collected))


SPEC = FigureSpec("front", "pareto", "score_joules_per_byte", "bits_per_byte", width_in=5.5)


def test_points_are_means_with_bars_over_seeds(study, tmp_path):
    [drawn] = write_figures(study, [SPEC], tmp_path, "neurips")
    assert "Means over 3 seeds; their error bars: 95 %, Student's t over seeds." in drawn.caption
    assert "one seed" not in drawn.caption
    assert drawn.run_ids == sorted(study.runs["run_id"])
    assert set(probabilities(SPEC, study.means)) == set(study.means["run_id"])


def test_every_run_is_a_point_if_asked_for(study, tmp_path):
    each = FigureSpec(**{**vars(SPEC), "name": "each", "seeds": "each"})
    by_seed = FigureSpec(**{**vars(SPEC), "name": "by_seed", "series": ("seed",)})
    for spec in (each, by_seed):
        [drawn] = write_figures(study, [spec], tmp_path, "neurips")
        assert "Means over" not in drawn.caption


def test_the_report_has_tables_of_means_and_takes_them_back(study, tmp_path, capsys):
    assert main(["report", "s", "--results-dir", str(tmp_path / "results")]) == 0
    tables = tmp_path / "results" / "s" / "tables"
    text = (tables / "energy_over_seeds.md").read_text()
    assert "| **10.0 ± 2.5** |" in text
    assert "Means over seeds ± half of the 95 % interval" in text
    data = pd.read_csv(tables / "energy_over_seeds.csv").set_index("model")
    assert data.loc["small", "run_ids"] == "small-s0 small-s1 small-s2"
    assert data.loc["small", "joules_per_token_ci_high"] == pytest.approx(0.0124841, abs=1e-7)
    assert len(pd.read_csv(tables / "energy.csv")) == 6
    assert "±" in (tables / "quality_over_seeds.tex").read_text()
    assert "Means over seeds" in (tmp_path / "results" / "s" / "report.html").read_text()
    for seed in (1, 2):
        for model in ("small", "large"):
            (tmp_path / "results" / "s" / f"{model}-s{seed}" / "record.json").unlink()
    assert main(["report", "s", "--results-dir", str(tmp_path / "results")]) == 0
    assert not list(tables.glob("*over_seeds*"))


def test_an_interval_that_reaches_below_nothing_is_told_from_nothing_on(tmp_path):
    """2 and 30 mJ: 16 with 14 * 12.706 = 178 either way."""
    entries = [seeded("small", 0, 0.002, 40.0, 2.0), seeded("small", 1, 0.030, 40.0, 2.0), STUDY[3]]
    sentence = findings(collect(write_study(tmp_path / "results", *entries)))[1]
    assert "small (energy to score text 4 [0 to 48.47] mJ/byte" in sentence


def test_a_seed_that_was_too_short_for_a_repeat_is_one_of_the_cells(tmp_path):
    """Its training energy counts; joules per token, which it lacks, are missing in the mean."""
    entries = json.loads(json.dumps(STUDY[:2]))
    for entry, joules in zip(entries, (10.0, 30.0), strict=True):
        entry["summary"] |= {"training": {"total_energy_j": joules}, "run": {"total_energy_j": joules}}
        entry["summary"]["run"]["energy_method"] = "modelled"
        entry["energy_sources"] = [
            {"component": "cpu", "method": "modelled"},
            {"component": "gpu", "method": "unavailable"},
        ]
    entries[1]["summary"]["phases"]["score"] = {"repeats": 0, "energy_method": "unavailable", "energy_components": ""}
    [row] = collect(write_study(tmp_path / "results", *entries)).means.to_dict("records")
    assert row["seeds"] == 2
    assert row["train_energy_j"] == 20.0
    assert pd.isna(row["joules_per_token"])
    assert (row["energy_method"], row["energy_components"]) == ("modelled", "cpu")
