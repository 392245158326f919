"""Two runs of one cell: what agrees, and what does not."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.__main__ import main
from harness.config.compose import compose_cell
from harness.config.recorded import upgraded
from harness.errors import UserError
from harness.runner.folders import run_folder
from harness.runner.run import execute
from harness.sweep.compare import compare_runs, compare_studies, corrected


def a_run(folder, joules, seconds, nats, fingerprint="f", status="ok", reason="", **quality):
    """A run folder with repeats of 100 tokens and documents of 10 tokens."""
    folder.mkdir(parents=True)
    record = {"run_id": folder.name, "fingerprint": fingerprint, "status": status, "reason": reason, "quality": quality}
    (folder / "record.json").write_text(json.dumps(record))
    rows = [
        {"phase": "score", "repeat": float(number), "total_energy_j": j, "duration_s": s, "tokens": 100}
        for number, (j, s) in enumerate(zip(joules, seconds, strict=True), start=1)
    ]
    rows.append({"phase": "load", "repeat": None, "total_energy_j": 1.0, "duration_s": 1.0, "tokens": None})
    pd.DataFrame(rows).to_parquet(folder / "windows.parquet")
    pd.DataFrame({"nats": nats, "tokens": [10] * len(nats)}).to_parquet(folder / "likelihoods.parquet")
    return folder


SECONDS = [1.0, 1.02, 0.98, 1.01]


def verdicts(findings):
    return {finding.metric: finding.verdict for finding in findings}


def test_repeats_that_scatter_around_one_value_agree(tmp_path):
    first = a_run(tmp_path / "a" / "r", [10, 10.2, 9.8, 10.1], SECONDS, [5.0, 6.0], perplexity=3.0)
    second = a_run(tmp_path / "b" / "r", [10.1, 9.9, 10.0, 10.2], SECONDS[::-1], [5.0, 6.0], perplexity=3.0)
    assert verdicts(compare_runs(first, second)) == {
        "score, J/token": "agree", "score, s/token": "agree", "perplexity": "agree",
    }  # fmt: skip


def test_a_tenth_more_energy_differs_and_the_ratio_says_how_much(tmp_path):
    first = a_run(tmp_path / "a" / "r", [10, 10.1, 9.9, 10], SECONDS, [5.0, 6.0], perplexity=3.0)
    second = a_run(tmp_path / "b" / "r", [11, 11.1, 10.9, 11], SECONDS, [5.0, 6.0], perplexity=3.0)
    energy = compare_runs(first, second)[1] if False else next(
        finding for finding in compare_runs(first, second) if finding.metric == "score, J/token"
    )  # fmt: skip
    assert energy.verdict == "differ"
    assert energy.ratio.value == pytest.approx(1.1, rel=1e-3)
    assert energy.ratio.low > 1.05
    assert (energy.first, energy.second) == (pytest.approx(0.1), pytest.approx(0.11))


def test_a_difference_that_is_shown_and_too_small_to_matter_is_none(tmp_path):
    """One per cent more in repeats that scatter by a hundredth of that: p is below 0.001."""
    first = a_run(tmp_path / "a" / "r", [10, 10.001, 9.999, 10], SECONDS, [5.0, 6.0])
    second = a_run(tmp_path / "b" / "r", [10.1, 10.101, 10.099, 10.1], SECONDS, [5.0, 6.0])
    third = a_run(tmp_path / "c" / "r", [10.3, 10.301, 10.299, 10.3], SECONDS, [5.0, 6.0])
    close, apart = (compare_runs(first, other)[0] for other in (second, third))
    assert (close.metric, close.verdict, close.equivalent) == ("score, J/token", "agree", True)
    # It is still one of the tests that were made, and is counted as one of them.
    assert [each.verdict for each in corrected([close, apart])] == ["agree", "differ"]
    lone = replace(apart, p=0.03)
    assert corrected([lone])[0].verdict == "differ"
    assert corrected([replace(close, p=0.04), lone])[1].verdict == "agree"
    assert close.why == "equivalent: the ratio's interval is within 2% of 1"
    assert (apart.metric, apart.verdict) == ("score, J/token", "differ")


def test_repeats_that_are_left_out_of_means_are_left_out_here(tmp_path):
    first = a_run(tmp_path / "a" / "r", [10, 10.2, 9.8, 99.0], SECONDS, [5.0, 6.0])
    frame = pd.read_parquet(first / "windows.parquet")
    frame.assign(flags=["contended_host", "", "", "interrupted,contended_host", ""]).to_parquet(
        first / "windows.parquet"
    )
    second = a_run(tmp_path / "b" / "r", [10.1, 9.9, 10.0], SECONDS[:3], [5.0, 6.0])
    energy = compare_runs(first, second)[0]
    assert (energy.metric, energy.verdict, energy.first) == ("score, J/token", "agree", pytest.approx(0.1))


def test_a_part_without_energy_leaves_its_repeat_without(tmp_path):
    """A repeat that a pause cut in two, one part of which lost its counter, is none of half the energy."""
    folder = a_run(tmp_path / "a" / "r", [10, 10.2, 9.8, 10.1], SECONDS, [5.0, 6.0])
    other = a_run(tmp_path / "b" / "r", [10, 10.2, 9.8, 10.1], SECONDS, [5.0, 6.0])
    frame = pd.read_parquet(folder / "windows.parquet")
    part = frame.iloc[[0]].assign(total_energy_j=np.nan)
    pd.concat([frame, part]).to_parquet(folder / "windows.parquet")
    energy = compare_runs(folder, other)[0]
    assert (energy.metric, energy.verdict, energy.first) == ("score, J/token", "cannot say", None)


def test_a_component_that_moved_in_no_part_leaves_its_repeat_without(tmp_path):
    folders = [a_run(tmp_path / name / "r", [10, 10.2, 9.8, 10.1], SECONDS, [5.0, 6.0]) for name in "ab"]
    frame = pd.read_parquet(folders[0] / "windows.parquet")
    frame.assign(cpu_energy_j=frame["total_energy_j"], gpu_energy_j=0.0).to_parquet(folders[0] / "windows.parquet")
    assert compare_runs(*folders)[0].verdict == "cannot say"


def test_an_excluded_part_excludes_its_repeat(tmp_path):
    folders = [a_run(tmp_path / name / "r", [10, 10.2, 9.8, 10.1], SECONDS, [5.0, 6.0]) for name in "ab"]
    frame = pd.read_parquet(folders[0] / "windows.parquet").assign(flags="")
    part = frame.iloc[[0]].assign(flags="interrupted", total_energy_j=900.0)
    pd.concat([frame, part], ignore_index=True).to_parquet(folders[0] / "windows.parquet")
    assert compare_runs(*folders)[0].first == pytest.approx((0.102 + 0.098 + 0.101) / 3)


def test_whole_trainings_are_told_and_their_steps_compared(tmp_path):
    folders = [a_run(tmp_path / name / "r", [10, 10.2, 9.8, 10.1], SECONDS, [5.0, 6.0]) for name in "ab"]
    for folder, steps, joules in zip(folders, (100, 120), (500.0, 600.0), strict=True):
        record = json.loads((folder / "record.json").read_text())
        record["summary"] = {"training": {"steps": steps, "total_energy_j": joules, "energy_to_target_j": None}}
        (folder / "record.json").write_text(json.dumps(record))
    found = {f.metric: (f.first, f.second, f.verdict) for f in compare_runs(*folders)}
    assert found["training, steps"] == (100, 120, "differ")
    assert found["training, J"] == (500.0, 600.0, "cannot say")
    assert "training to the target, J" not in found


def test_a_missing_energy_is_said_and_never_a_zero(tmp_path):
    first = a_run(tmp_path / "a" / "r", [10, np.nan, 9.9, 10], SECONDS, [5.0, 6.0])
    second = a_run(tmp_path / "b" / "r", [11, 11.1, 10.9, 11], SECONDS, [5.0, 6.0])
    found = {finding.metric: finding for finding in compare_runs(first, second)}
    assert found["score, J/token"].verdict == "cannot say"
    assert found["score, J/token"].first is None
    assert found["score, s/token"].verdict == "agree"


@pytest.mark.parametrize(
    ("nats", "verdict", "why"),
    [
        ([5.00001, 6.00002, 7.0, 8.0], "agree", "differ by"),
        ([5.2, 6.21, 7.19, 8.2], "differ", "paired test over documents"),
        ([5.5, 5.5, 7.6, 7.5], "agree", "paired test over documents"),
    ],
)
def test_losses_are_paired_document_by_document(tmp_path, nats, verdict, why):
    first = a_run(tmp_path / "a" / "r", [1, 1], [1, 1], [5.0, 6.0, 7.0, 8.0], perplexity=3.0)
    second = a_run(tmp_path / "b" / "r", [1, 1], [1, 1], nats, perplexity=3.1)
    [loss] = [finding for finding in compare_runs(first, second) if finding.metric == "perplexity"]
    assert (loss.verdict, why in loss.why) == (verdict, True), loss


@pytest.mark.parametrize(("low", "verdict"), [(0.3, "agree"), (0.45, "differ")])
def test_scores_without_repeats_are_compared_by_their_intervals(tmp_path, low, verdict):
    first = a_run(tmp_path / "a" / "r", [1, 1], [1, 1], [], accuracy=0.3, accuracy_ci_low=0.2, accuracy_ci_high=0.4)
    ends = {"accuracy_ci_low": low, "accuracy_ci_high": 0.6}
    second = a_run(tmp_path / "b" / "r", [1, 1], [1, 1], [], accuracy=0.5, **ends)
    assert verdicts(compare_runs(first, second))["accuracy"] == verdict


def test_a_cell_that_failed_in_one_of_them_differs(tmp_path):
    first = a_run(tmp_path / "a" / "r", [1, 1], [1, 1], [])
    second = a_run(tmp_path / "b" / "r", [1, 1], [1, 1], [], status="oom", reason="no memory")
    [finding] = compare_runs(first, second)
    assert (finding.metric, finding.verdict) == ("status", "differ")


def test_studies_are_compared_cell_by_cell_with_holms_correction(tmp_path):
    """One of 20 equal cells is near the level by chance; corrected for their number nothing differs."""
    generator = np.random.default_rng(3)
    for number in range(20):
        for side in "ab":
            joules = np.exp(generator.normal(0, 0.05, 5))
            a_run(tmp_path / side / f"r{number}", joules, np.exp(generator.normal(0, 0.05, 5)), [], str(number))
    a_run(tmp_path / "a" / "alone", [1, 1], [1, 1], [], "alone")
    findings, alone = compare_studies(tmp_path / "a", tmp_path / "b")
    assert len(findings) == 40
    assert {finding.verdict for finding in findings} == {"agree"}
    assert all("Holm" in finding.why for finding in findings)
    assert alone == [f"only in {tmp_path / 'a'}: alone"]


def test_studies_without_a_common_cell_are_named(tmp_path):
    a_run(tmp_path / "a" / "r", [1, 1], [1, 1], [], "1"), a_run(tmp_path / "b" / "r", [1, 1], [1, 1], [], "2")
    with pytest.raises(UserError, match="no cell in common"):
        compare_studies(tmp_path / "a", tmp_path / "b")


def test_the_command_compares_runs_and_studies(tiny, tmp_path, capsys):
    for study in ("one", "two"):
        execute(compose_cell([*tiny, f"study={study}"]), "command", lambda *_: None)
    results = tmp_path / "results"
    runs = [str(next((results / study).iterdir())) for study in ("one", "two")]
    for pair in (runs, [str(results / "one"), str(results / "two")], ["one", "two"]):
        status = main(["compare", *pair, "--results-dir", str(results)])
        out = capsys.readouterr().out
        assert status in (0, 1)
        assert "losses of the same documents differ by 0.0e+00" in out
        assert "3 figures:" in out
    assert main(["compare", runs[0], str(results / "two")]) == 2
    assert main(["compare", "nowhere", runs[0]]) == 2


@pytest.mark.slow
def test_verify_runs_a_recorded_cell_again_from_its_record_alone(tiny, tmp_path, capsys):
    cell = compose_cell([*tiny, "protocol.max_repeats=4", "protocol.min_repeats=4", "protocol.window_s=0.2"])
    execute(cell, "command", lambda *_: None)
    folder = run_folder(cell.config)
    kept = tmp_path / "elsewhere"
    shutil.copytree(folder, kept)
    shutil.rmtree(folder)
    status = main(["verify", str(kept / "record.json")])
    out = capsys.readouterr().out
    assert "losses of the same documents differ by 0.0e+00" in out
    assert out.splitlines()[-1].startswith(("reproduced", "not reproduced: score"))
    assert (status == 0) == out.splitlines()[-1].startswith("reproduced")
    assert not folder.exists()
    # A recorded loss that this cell does not have is found out.
    likelihoods = pd.read_parquet(kept / "likelihoods.parquet")
    likelihoods["nats"] *= 1.1
    likelihoods.to_parquet(kept / "likelihoods.parquet")
    assert main(["verify", str(kept)]) == 1
    assert "perplexity" in capsys.readouterr().out.splitlines()[-1]


def test_what_is_no_record_is_named(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "no record in it" in capsys.readouterr().err


def test_configurations_of_earlier_versions_are_understood():
    """Every committed reference record, some of them older than the keys that came since."""
    from harness.config.compose import config_dir, load_config

    paths = sorted((config_dir().parent / "results" / "reference").glob("*/*/record.json"))
    assert len(paths) > 50
    for path in paths:
        load_config(upgraded(json.loads(path.read_text())["config"]))
