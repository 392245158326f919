"""The same cells through Hydra's launchers leave the same records."""

import json

import pytest

from harness.__main__ import main
from harness.config.compose import compose_cell, launcher_of
from harness.config.fingerprint import fingerprint
from harness.sweep.launch import _cluster_overrides, asked_for


def outcome(results):
    records = [json.loads(path.read_text()) for path in sorted(results.glob("*/*/record.json"))]
    return {(r["run_id"], r["fingerprint"], r["status"], tuple(sorted(r["summary"])), tuple(sorted(r["quality"])),
             r["environment_fingerprint"])
            for r in records}  # fmt: skip


@pytest.mark.slow
def test_every_launcher_yields_the_same_records(tiny, tmp_path, capsys):
    pytest.importorskip("submitit")
    grid = [*tiny, "batch_size=1,2"]
    assert main(["sweep", *grid, f"paths.results_dir={tmp_path}/here"]) == 0
    expected = outcome(tmp_path / "here")
    assert len(expected) == 2
    for launcher, more in (
        ("joblib", ["hydra.launcher.n_jobs=2"]),
        ("submitit_local", ["hydra.launcher.timeout_min=5"]),
    ):
        results = tmp_path / launcher
        assert main(["sweep", *grid, f"hydra/launcher={launcher}", *more, f"paths.results_dir={results}"]) == 0, (
            launcher
        )
        assert outcome(results) == expected, launcher
        assert not list(results.glob("*/.*")), "nothing of the launcher's is left"
    capsys.readouterr()
    again = ["sweep", *grid, "hydra/launcher=joblib", f"paths.results_dir={tmp_path}/joblib"]
    assert main(again) == 0
    assert "2 cells: 2 done, 0 to run" in capsys.readouterr().out


@pytest.mark.slow
def test_a_cell_that_fails_in_a_job_is_a_record_and_the_jobs_logs_are_kept(tiny, tmp_path, capsys):
    pytest.importorskip("joblib")
    grid = [*tiny, "task.scoring.context=16,99", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]
    assert main(["sweep", *grid]) == 1
    assert "reads at most 32 tokens" in capsys.readouterr().out
    records = [json.loads(p.read_text())["status"] for p in (tmp_path / "results").glob("adhoc/*/record.json")]
    assert sorted(records) == ["failed", "ok"]


def test_a_launcher_that_is_not_installed_says_what_is(tiny, capsys):
    assert main(["sweep", *tiny, "hydra/launcher=ray"]) == 2
    assert "joulebench[launchers]" in capsys.readouterr().err


def test_slurm_where_there_is_none(tiny, tmp_path, capsys, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["sweep", *tiny, "hydra/launcher=submitit_slurm"]) == 2
    assert "hydra/launcher=submitit_slurm cannot start a job" in capsys.readouterr().err
    assert not (tmp_path / "results" / "adhoc").exists() or not list((tmp_path / "results" / "adhoc").iterdir())


def test_hardware_carries_what_a_job_asks_for():
    config = compose_cell(["hardware=h200", "hardware.devices=4", "hardware.cluster.partition=gpu",
                           "hardware.cluster.time_min=90", "task=train", "model=gpt-nano"]).config  # fmt: skip
    cluster = asked_for(config.hardware)
    assert cluster.gpus == 4
    given = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=5"]
    assert sorted(_cluster_overrides(cluster, given, None)) == [
        "hydra.launcher.gpus_per_node=4", "hydra.launcher.partition='gpu'",
    ]  # fmt: skip
    assert "hydra.launcher.timeout_min=90" in _cluster_overrides(cluster, given[:1], 60.0)
    assert _cluster_overrides(cluster, [], None) == []
    plain = asked_for(compose_cell([]).config.hardware)
    assert _cluster_overrides(plain, given[:1], 90.0) == ["hydra.launcher.timeout_min=7"]  # 90 s, and five minutes
    assert _cluster_overrides(plain, given[:1], None) == []
    assert _cluster_overrides(plain, ["hydra/launcher=submitit_local"], None) == ["hydra.launcher.timeout_min=10080"]
    assert asked_for(compose_cell([]).config.hardware).gpus is None


def test_the_launcher_and_what_a_job_asks_for_are_no_part_of_a_cell():
    plain = compose_cell([]).config
    for more in (["hydra/launcher=basic"], ["hardware.cluster.partition=gpu"]):
        assert fingerprint(compose_cell(more).config) == fingerprint(plain)
    assert launcher_of(["a=1", "hydra/launcher=joblib"]) == "joblib"
    assert launcher_of(["a=1"]) == "basic"
