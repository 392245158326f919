"""What the page says first: findings, warnings and marks, by hand."""

import copy
import json

import numpy as np
import pandas as pd
import pytest

from harness.errors import UserError
from harness.metrics.registry import BY_NAME
from harness.report.collect import collect, with_runs
from harness.report.columns import columns_for
from harness.report.findings import findings, totals
from harness.report.marks import marked
from harness.report.warnings import warnings
from harness.report.wording import energy_sentence
from tests.report.studies import GRID, record, write_study


def collected_of(tmp_path, *records, **frames):
    return collect(write_study(tmp_path / "results", *records, **frames))


def runs_of(tmp_path, *records, **frames):
    return collected_of(tmp_path, *records, **frames).runs


def with_run_energy(entry, joules):
    return {**entry, "summary": {**entry["summary"], "run": {"total_energy_j": joules, "energy_method": "modelled"}}}


def test_totals_hold_failed_runs_and_name_what_is_missing(tmp_path):
    failed = with_run_energy(record("broken", status="oom"), 500.0)
    runs = runs_of(tmp_path, with_run_energy(GRID[0], 1500.0), GRID[1], failed)
    assert totals(runs) == (
        "3 runs (1 oom), 0.0042 hours in all, 2 kJ (modelled), 500 J of them in runs without a result; "
        "of 1 it is not known."
    )


def test_totals_without_any_energy(tmp_path):
    assert "is not in these records" in totals(runs_of(tmp_path, GRID[0]))


def scored(model, cost, bits, nats):
    """A scored run with its losses of four documents of 10 tokens."""
    entry = record(model, cost=cost)
    entry["quality"] |= {"bits_per_byte": bits, "bits_per_byte_ci_low": bits - 0.5, "bits_per_byte_ci_high": bits + 0.5}
    return entry, pd.DataFrame({"nats": nats, "tokens": [10] * 4})


@pytest.fixture
def three(tmp_path):
    """The best is dear; one is as good, as far as documents tell, and cheaper; the cheapest is surely worse."""
    base = np.array([20.0, 30.0, 10.0, 40.0])
    entries = [
        scored("best", 0.04, 2.0, base),
        scored("equal", 0.03, 2.01, base + np.array([0.1, -0.1, 0.2, -0.1])),
        scored("worse", 0.01, 2.2, base + np.array([1.0, 1.1, 0.9, 1.05])),
    ]
    study = write_study(tmp_path / "results", *(entry for entry, _ in entries))
    for entry, losses in entries:
        losses.to_parquet(study / entry["run_id"] / "likelihoods.parquet")
    return collect(study)


def test_the_cheapest_the_best_and_the_cheapest_that_is_as_good(three):
    assert findings(three)[1] == (
        "score (chitchat): the cheapest is worse (energy to score text 2.500 mJ/byte, bits per byte 2.200 [1.700 to "
        "2.700]). The best is best (bits per byte 2 [1.500 to 2.500]); the cheapest that cannot be told from it is equal "
        "(bits per byte 2.010 [1.510 to 2.510]), at 3 times the energy of the cheapest."
    )


def test_losses_are_marked_by_pairs_of_documents_and_not_by_wide_intervals(three):
    """All intervals overlap, and yet the third is surely worse."""
    marks = marked(three.runs, BY_NAME["bits_per_byte"])
    assert dict(zip(three.runs["model"], marks, strict=True)) == {"best": True, "equal": True, "worse": False}
    assert three.runs.set_index("model")["p_best_likelihood"]["best"] == 1.0


def test_energies_are_marked_within_one_machine_and_method(tmp_path):
    """0.0061 is within the 3 % errors of 0.006 (quadrature: 4.2 %), 0.012 is not; another machine has its own best."""
    near = record(precision="int8", cost=0.0061)
    elsewhere = [record(f"far-{n}", cost=cost, device_name="CPU Y") for n, cost in enumerate((0.5, 0.9))]
    runs = runs_of(tmp_path, record(cost=0.006), near, record(precision="bf16", cost=0.012), *elsewhere)
    marks = dict(zip(runs["run_id"], marked(runs, BY_NAME["joules_per_token"]), strict=True))
    assert marks == {
        "gpt-nano-fp32-b1": True, "gpt-nano-int8-b1": True, "gpt-nano-bf16-b1": False,
        "far-0-fp32-b1": True, "far-1-fp32-b1": False,
    }  # fmt: skip


def compiled(cost, compile_j, **cell):
    entry = record(cost=cost, backend="compile", **cell)
    entry["run_id"] += "-compiled"
    entry["summary"]["all_windows"] = {"compile": {"total_energy_j": compile_j}}
    return entry


def test_a_break_even_by_hand(tmp_path):
    """100 J for 0.02 - 0.01 J a token less: 10,000 tokens."""
    found = findings(collected_of(tmp_path, record(cost=0.02, backend="eager"), compiled(0.01, 100.0)))
    [sentence] = [each for each in found if "beforehand" in each]
    assert sentence.startswith(
        "score (chitchat): compile against eager: its 100 J beforehand, measured once: pays after 10,000 tokens"
    )


def test_what_saves_nothing_never_pays(tmp_path):
    found = findings(collected_of(tmp_path, record(cost=0.02, backend="eager"), compiled(0.03, 100.0)))
    assert any("never pays" in each for each in found)


def test_a_student_pays_against_its_teacher(tmp_path):
    """50 J of training for 0.02 - 0.01 J a scored token less: 5,000 tokens."""
    entries = [record("teacher", cost=0.02, task="train"), record("student", cost=0.01, task="train")]
    for entry in entries:
        entry["summary"]["training"] = {"total_energy_j": 50.0}
    entries[1]["model"]["teacher"] = entries[0]["run_id"]
    found = findings(collected_of(tmp_path, *entries))
    assert any("student instead of its teacher teacher" in each and "after 5,000 scored" in each for each in found)


def test_flags_come_with_a_remedy(tmp_path):
    found = warnings(collect(write_study(tmp_path / "results", *GRID)))
    assert "4 of 4 runs are flagged contended_host. Remedy: close other programs, or measure at another time." in found


def test_unlike_environments_are_named_by_key(tmp_path):
    entries = [copy.deepcopy(entry) for entry in GRID[:2]]
    for number, entry in enumerate(entries):
        entry["environment"] = {
            "cpu": "X",
            "packages": {"torch": f"2.{number}"},
            "variables": {"A": "1"} if number else {},
        }
        entry["environment_fingerprint"] = str(number)
    found = "\n".join(warnings(collect(write_study(tmp_path / "results", *entries))))
    assert "The runs' environments differ in packages.torch: 2.0, 2.1." in found
    assert "The runs' environments differ in variables.A: 1, not set." in found
    assert "differ in cpu" not in found


def test_a_record_that_cannot_be_read_is_a_reason_for_doubt(tmp_path):
    study = write_study(tmp_path / "results", *GRID)
    (study / "half").mkdir()
    (study / "half" / "record.json").write_text("{")
    assert any(text.startswith("half is left out") for text in warnings(collect(study)))


def test_unstable_repeats_are_found(tmp_path):
    costs = [1.0, 1.2, 0.8, 1.3, 0.7]
    rows = [
        {"phase": "score", "repeat": float(n), "total_energy_j": cost, "tokens": 1.0}
        for n, cost in enumerate(costs, start=1)
    ]
    found = "\n".join(warnings(collect(write_study(tmp_path / "results", GRID[0], windows=rows))))
    assert "Energy per token is unstable (scatter): gpt-nano-fp32-b1, score:" in found
    assert "Remedy: use a quiet machine" in found


def test_what_all_runs_share_is_told_once_and_intervals_are_one_column(tmp_path):
    runs = runs_of(tmp_path, *GRID)
    metrics = [BY_NAME[name] for name in ("task", "precision", "joules_per_token", "joules_per_token_ci_low",
                                           "joules_per_token_ci_high")]  # fmt: skip
    columns, shared = columns_for(runs, metrics)
    assert shared == "All runs: task score."
    assert [column.heading for column in columns] == [
        "Precision",
        "Energy per token (mJ/token)",
        "Energy per token, 95 %",
    ]
    assert columns[2].cells[0] == "2.400 to 24"
    assert columns[1].bold == [cost == "6" for cost in columns[1].cells]


def test_imported_and_own_energies_are_told_apart(tmp_path):
    runs = runs_of(tmp_path, *GRID)
    other = runs.iloc[:1].assign(origin="lm-eval x.json", energy_method="measured_counter", energy_components="gpu")
    told = energy_sentence(pd.concat([runs, other]))
    assert "Energy is modelled, not measured: CPU (CPU X)" in told
    assert "Imported energy (lm-eval x.json): measured counter (gpu)." in told
    assert told.endswith("Modelled and measured figures must not be ranked together.")


def test_several_studies_are_one_frame(tmp_path):
    studies = [write_study(tmp_path / "results", *GRID, name=name) for name in ("a", "b")]
    collected = collect(*studies)
    assert len(collected.runs) == 8
    assert collected.runs["run_id"].iloc[0] == "a/gpt-nano-bf16-b1"
    assert collected.records["b/gpt-nano-bf16-b1"]["cell"]["precision"] == "bf16"


def test_records_of_an_earlier_layout_are_brought_to_this_one():
    from harness.record.migrate import migrated

    steps = {1: lambda record: {"b": record.pop("a"), **record}, 2: lambda record: {**record, "c": 3}}
    assert migrated({"schema_version": 1, "a": 5}, steps, to=3) == {"schema_version": 3, "b": 5, "c": 3}
    for version, message in ((4, "schema version 4"), (None, "schema version None"), (0, "schema version 0")):
        with pytest.raises(ValueError, match=message):
            migrated({"schema_version": version}, steps, to=3)


def test_json_of_details_holds_what_runs_share_once(tmp_path):
    from harness.report.run_details import details

    entries = [
        {**entry, "config": {"seed": n, "study": "s"}, "environment": {"cpu": "X"}} for n, entry in enumerate(GRID)
    ]
    study = write_study(tmp_path / "results", *entries)
    (study / GRID[0]["run_id"] / "run.log").write_text("".join(f"line {n}\n" for n in range(1000)))
    found = details(collect(study))
    assert found["shared"] == {"study": "s"}
    assert found["runs"][GRID[1]["run_id"]]["config"] == {"seed": "1"}
    assert len({run["environment"] for run in found["runs"].values()}) == 1
    assert found["runs"][GRID[0]["run_id"]]["log"].splitlines()[-1] == "line 999"
    assert len(found["runs"][GRID[0]["run_id"]]["log"]) <= 2000
    json.dumps(found)


def test_what_costs_less_than_ten_tokens_is_not_told(tmp_path):
    found = findings(collected_of(tmp_path, record(cost=0.02, backend="eager"), compiled(0.01, 0.1)))
    assert not [each for each in found if "beforehand" in each]


def test_too_few_runs_with_both_are_ranked_by_energy_alone(tmp_path):
    """Quality of one run only, and energies of two."""
    entries = [record(batch=1, cost=0.02), record(batch=8, cost=0.01)]
    entries[0]["quality"] = {}
    [sentence] = findings(collected_of(tmp_path, *entries))[1:]
    assert sentence.endswith("the dearest 1 sequence, at 2 times its energy.")


def test_groups_are_told_apart_by_what_differs(tmp_path):
    machines = [record(batch=b, cost=b / 100, device_name=name) for name in ("CPU X", "CPU Y") for b in (1, 8)]
    for number, entry in enumerate(machines):
        entry["run_id"] += f"-{number}"
    found = findings(collected_of(tmp_path, *machines))
    assert [each.split(":")[0] for each in found[1:]] == ["score (chitchat, CPU X)", "score (chitchat, CPU Y)"]


def test_perplexity_is_not_marked_across_tokenizers(tmp_path):
    entries = [scored("byte", 0.01, 2.0, [10.0] * 4), scored("bpe", 0.01, 1.4, [7.0] * 4)]
    for (entry, _), name in zip(entries, ("byte", "bpe"), strict=True):
        entry["quality"]["protocol"] = {"tokenizer": name}
    study = write_study(tmp_path / "results", *(entry for entry, _ in entries))
    for entry, losses in entries:
        losses.to_parquet(study / entry["run_id"] / "likelihoods.parquet")
    runs = collect(study).runs
    assert not marked(runs, BY_NAME["perplexity"]).any()
    assert dict(zip(runs["model"], marked(runs, BY_NAME["bits_per_byte"]), strict=True)) == {"byte": False, "bpe": True}


def test_what_a_sum_holds_is_said(tmp_path):
    runs = runs_of(tmp_path, *GRID).assign(energy_components="cpu+gpu", device_name="NVIDIA H100")
    assert (
        energy_sentence(runs)
        == "Energy on NVIDIA H100 is a sum (cpu+gpu) of which the CPU is modelled and not measured."
    )


def test_steady_power_makes_energy_time(tmp_path):
    assert "ratios of energy are ratios of time" in energy_sentence(runs_of(tmp_path, *GRID))


def test_an_axis_that_differs_is_a_column(tmp_path):
    from harness.report.tables import columns_of

    runs = runs_of(tmp_path, record(batch=1), {**record(batch=1, seed=7), "run_id": "other"})
    assert "seed" in [metric.name for metric in columns_of("energy", runs)]
    assert "data" not in [metric.name for metric in columns_of("energy", runs)]


def test_records_of_earlier_versions(tmp_path):
    """No energy below 0; the energy of a run is that of its windows; an interval of no width says nothing."""
    entry = record()
    entry["summary"]["phases"]["score"]["joules_per_token_ci_low"] = -3.0
    entry["summary"]["all_windows"] = {"load": {"total_energy_j": 2.0}, "score": {"total_energy_j": 5.0}}
    entry["quality"] |= {"pass_at_k": 0.0, "pass_at_k_ci_low": 0.0, "pass_at_k_ci_high": 0.0}
    [run] = runs_of(tmp_path, entry).to_dict("records")
    assert run["joules_per_token_ci_low"] == 0.0
    assert (run["run_energy_j"], run["run_energy_method"]) == (7.0, "modelled, in windows")
    assert pd.isna(run["pass_at_k_ci_high"])


def test_two_studies_of_one_name_are_refused(tmp_path):
    studies = [write_study(tmp_path / folder, *GRID, name="s") for folder in ("a", "b")]
    with pytest.raises(UserError, match="two studies of one name"):
        collect(*studies)


@pytest.mark.parametrize("part", ["study", "summary", "cell"])
def test_a_record_with_a_wrong_part_is_left_out(tmp_path, part):
    study = write_study(tmp_path / "results", *GRID[1:], {**GRID[0], part: None})
    collected = collect(study)
    assert len(collected.runs) == 3
    assert list(collected.left_out) == [GRID[0]["run_id"]]


def test_no_ratio_where_the_cheapest_has_no_interval(tmp_path):
    entries = [record(batch=1, cost=0.01), record(batch=8, cost=0.02)]
    entries[0]["summary"]["phases"]["score"]["joules_per_token_relative_half_width"] = None
    assert runs_of(tmp_path, *entries)["energy_ratio"].isna().all()


def test_what_is_shown_not_to_be_worse_by_the_margin(tmp_path):
    """Upper ends of 0.004 and 0.02 nats: of a margin of 0.01, one is below."""
    collected = collected_of(tmp_path, *(record(precision=p, cost=0.01) for p in ("fp32", "bf16", "int4")))
    ends = {"fp32": (0.0, 0.0), "bf16": (0.001, 0.004), "int4": (0.015, 0.02)}
    runs = collected.runs
    runs = runs.assign(
        cross_entropy_difference=[ends[p][0] for p in runs["precision"]],
        cross_entropy_difference_ci_high=[ends[p][1] for p in runs["precision"]],
    )
    told = "shown to be less than {} nats a token worse than fp32 (non-inferior, 95 %): {}, of 2 runs."
    for margin, names in ((0.01, "bf16"), (0.1, "bf16; int4"), (0.001, "none")):
        assert f"score (chitchat): {told.format(margin, names)}" in findings(with_runs(collected, runs), margin)


def test_weights_that_nobody_trained_are_told(tmp_path):
    entries = copy.deepcopy(GRID[:2])
    entries[0]["model"]["trained"], entries[1]["model"]["trained"] = False, True
    found = [each for each in warnings(collect(write_study(tmp_path / "results", *entries))) if "random" in each]
    assert found == [
        "Weights are random, so that quality means nothing: gpt-nano-fp32-b1. Remedy: task=train, or a checkpoint."
    ]
