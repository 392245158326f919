"""Exports of a study: log lines, model cards, the statement of compute, Croissant metadata, trackers."""

import argparse
import hashlib
import json
import re
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pandas as pd
import pytest
from huggingface_hub import ModelCard

from harness.commands.export import FORMATS, main, open_study
from harness.errors import UserError
from harness.metrics.registry import BY_NAME
from harness.report.exports import compute_statement, mlperf_log, trackers
from harness.report.exports.croissant import describe

BEGIN_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z: date -u -d 2026-01-01 +%s
NASTY = 'a_b|"c" & 50 %\n:::MLLOG {"key": "seed"}'


def record(run_id, task="train", status="ok", seconds=120.0, energy=None, device="CPU X", devices=1, **parts):
    cell = {"task": task, "model": "gpt-nano", "data": "chitchat", "batch_size": 8, "precision": "fp32", "hardware": "cpu",
            "device_name": device, "protocol": "smoke", "seed": 3}  # fmt: skip
    names = ("total_energy_j", "total_energy_low_j", "total_energy_high_j", "energy_method")
    summary = {
        "main_phase": task,
        "phases": {},
        "run": dict(zip(names, energy or (None, None, None, None), strict=True)),
    }
    return {
        "schema_version": 1, "study": "s", "run_id": run_id, "fingerprint": "f", "status": status, "cell": cell,
        "config": {"hardware": {"devices": devices}, "task": {}}, "environment": {"memory_bytes": 25_276_502_016, "gpus": []},
        "environment_fingerprint": "e", "started_at": "2026-01-01T00:00:00+00:00", "duration_s": seconds, "reason": "",
        "model": {"source": "random initialisation"}, "data": {"source": "package x", "content_sha256": "abc"},
        "quality": {}, "summary": summary, **parts,
    }  # fmt: skip


OPTIMIZER = {"name": "adamw", "learning_rate": 0.002, "warmup_steps": 20, "schedule": "cosine", "weight_decay": 0.1,
             "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "gradient_clip_norm": None}  # fmt: skip


def trained():
    made = record("train", energy=(7200.0, 3600.0, 10800.0, "modelled"))
    made["config"]["task"] = {"optimizer": OPTIMIZER}
    made["summary"]["training"] = {"steps": 4, "interruptions": 0, "target_met": None}
    made["quality"] = {"perplexity": 9.0, "perplexity_ci_low": 8.0, "perplexity_ci_high": 10.0,
                       "protocol": {"split": "test", "context": 128}}  # fmt: skip
    return made


def scored():
    made = record(
        "score", "score", seconds=60.0, energy=(3600.0, 3600.0, 3600.0, "measured_counter"), device="GPU_H", devices=2
    )
    made["environment"]["gpus"] = [{"name": "GPU_H", "memory_bytes": 80_000_000_000}] * 2
    made["quality"] = {"bleu": 30.0, "chrf": 50.0, "translated_pairs": 321}
    return made


def broken():
    return record("broken", status="oom", seconds=30.0)


WINDOWS = pd.DataFrame(
    [
        ("load", None, "", 0.0, 1.0, None), ("warmup", None, "training", 1.0, 1.0, 8), ("train", 1, "training", 2.0, 1.0, 8),
        ("validate", None, "", 3.0, 0.5, None), ("train", 2, "training", 4.0, 1.0, 16), ("score", None, "", 6.0, 1.0, 5),
        ("score", 1, "", 7.0, 1.0, 50),
    ],
    columns=["phase", "repeat", "label", "start_s", "duration_s", "samples"],
)  # fmt: skip
CURVE = pd.DataFrame({"step": [2], "samples": [16], "perplexity": [9.5]})


@pytest.fixture
def study(tmp_path):
    def make(*records):
        for entry in records:
            folder = tmp_path / "results" / "s" / entry["run_id"]
            folder.mkdir(parents=True)
            (folder / "record.json").write_text(json.dumps(entry))
        return tmp_path / "results" / "s"

    return make


@pytest.fixture
def grid(study):
    folder = study(trained(), scored(), broken())
    WINDOWS.to_parquet(folder / "train" / "windows.parquet")
    CURVE.to_parquet(folder / "train" / "curve.parquet")
    return folder


@pytest.fixture
def tabled(grid):
    (grid / "tables").mkdir()
    open_study(grid, None).collected.runs.to_csv(grid / "tables" / "runs.csv", index=False)
    return grid


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text(
        'pue: {value: 1.5, source: "Meter", year: 2025}\n'
        'carbon_intensity_g_per_kwh: {value: 400, source: "Grid", year: 2024}\nprice_usd_per_kwh: null\n'
    )
    return str(path)


def export(folder, *formats, site=None):
    return main(argparse.Namespace(study=folder.name, formats=list(formats), results_dir=str(folder.parent), site=site))


def logged(path):
    """As MLCommons' compliance checker reads a log: latin-1, the token, then JSON with four fields that it needs."""
    found = []
    for line in path.read_text(encoding="latin-1").splitlines():
        fields = json.loads(re.fullmatch(r":::MLLOG (\{.+\})", line)[1])
        assert list(fields) == ["namespace", "time_ms", "event_type", "key", "value", "metadata"]
        found.append(((float(fields["time_ms"]) - BEGIN_MS) / 1000, fields["event_type"], fields["key"], fields))
    return found


def test_a_training_as_mlperf_log_lines(grid):
    assert export(grid, "mlperf-log") == 0
    lines = logged(grid / "exports" / "mlperf-log" / "train.txt")
    timeline = [(at, key) for at, kind, key, _ in lines if kind != "POINT_IN_TIME" or key == "eval_accuracy"]
    assert timeline == [
        (0, "init_start"), (1, "init_stop"), (1, "run_start"), (1, "block_start"), (2, "block_stop"), (2, "block_start"),
        (3, "block_stop"), (3, "eval_start"), (3.5, "eval_stop"), (3.5, "eval_accuracy"), (4, "block_start"),
        (5, "block_stop"), (5, "run_stop"), (6, "eval_start"), (7, "eval_stop"), (120, "eval_accuracy"),
    ]  # fmt: skip
    facts = {
        key: fields["value"] for _, kind, key, fields in lines if kind == "POINT_IN_TIME" and key != "eval_accuracy"
    }
    assert facts == {
        "submission_benchmark": "gpt-nano", "submission_platform": "CPU X", "seed": 3, "global_batch_size": 8,
        "max_sequence_length": 128, "opt_name": "adamw", "opt_base_learning_rate": 0.002,
        "opt_learning_rate_warmup_steps": 20, "opt_learning_rate_decay_schedule": "cosine", "opt_weight_decay": 0.1,
        "opt_adamw_beta_1": 0.9, "opt_adamw_beta_2": 0.95, "opt_adamw_epsilon": 1e-8, "trained_samples": 32,
    }  # fmt: skip
    validation, final = [fields for _, _, key, fields in lines if key == "eval_accuracy"]
    assert (validation["value"], validation["metadata"]["samples_count"]) == (9.5, 16)
    assert (final["value"], final["metadata"]) == (9.0, {"metric": "perplexity", "split": "test"})
    [stop] = [fields for _, _, key, fields in lines if key == "run_stop"]
    assert stop["metadata"]["status"] == "success"
    assert (stop["metadata"]["run_energy_j"], stop["metadata"]["energy_method"]) == (7200.0, "modelled")


def test_intervals_of_a_log_open_before_they_close(grid):
    export(grid, "mlperf-log")
    kinds = {}
    for _, kind, key, _ in logged(grid / "exports" / "mlperf-log" / "train.txt"):
        if kind != "POINT_IN_TIME":
            kinds.setdefault(key.rsplit("_", 1)[0], []).append(kind)
    assert set(kinds) == {"init", "run", "block", "eval"}
    assert all(found == ["INTERVAL_START", "INTERVAL_END"] * (len(found) // 2) for found in kinds.values())


def test_a_run_that_failed_is_aborted_and_logs_nothing_that_it_lacks(grid):
    export(grid, "mlperf-log")
    lines = logged(grid / "exports" / "mlperf-log" / "broken.txt")
    assert [(at, key) for at, kind, key, _ in lines if kind != "POINT_IN_TIME"] == [
        (0, "init_start"), (0, "init_stop"), (0, "run_start"), (30, "run_stop"),
    ]  # fmt: skip
    assert lines[-1][3]["metadata"]["status"] == "aborted"
    assert lines[-1][3]["metadata"]["joulebench_status"] == "oom"
    assert not [key for _, _, key, _ in lines if key.startswith(("opt_", "eval_", "trained_"))]


def test_a_missed_target_is_aborted_as_mlperf_means_it():
    made = trained()
    made["summary"]["training"]["target_met"] = False
    [stop] = [event for event in mlperf_log.events(made, WINDOWS, None) if event.key == "run_stop"]
    assert stop.metadata["status"] == "aborted"
    assert stop.metadata["joulebench_status"] == "ok"


def test_a_perplexity_that_overflowed_is_not_logged():
    events = mlperf_log.events(trained(), WINDOWS, CURVE.assign(perplexity=float("inf")))
    assert [json.loads(event.line[9:])["value"] for event in events if event.key == "eval_accuracy"] == [9.0]


def test_windows_of_an_interrupted_training_are_not_placed_in_time(study):
    made = trained()
    made["summary"]["training"]["interruptions"] = 1
    folder = study(made)
    WINDOWS.to_parquet(folder / "train" / "windows.parquet")
    export(folder, "mlperf-log")
    keys = [key for _, _, key, _ in logged(folder / "exports" / "mlperf-log" / "train.txt")]
    assert "block_start" not in keys
    assert "trained_samples" not in keys
    assert keys.count("run_start") == keys.count("run_stop") == 1


def test_a_value_cannot_forge_a_line(study):
    made = trained()
    made["cell"]["model"] = NASTY
    folder = study(made)
    export(folder, "mlperf-log")
    values = [
        fields["value"]
        for _, _, key, fields in logged(folder / "exports" / "mlperf-log" / "train.txt")
        if key.startswith("submission_b")
    ]
    assert values == [NASTY]


def test_a_model_card_holds_qualities_and_no_emissions_without_a_site(grid):
    assert export(grid, "model-index") == 0
    folder = grid / "exports" / "model-index"
    assert {path.name for path in folder.iterdir()} == {"train.md", "score.md"}
    card = ModelCard.load(folder / "train.md")
    [result] = card.data.eval_results
    assert card.data.model_name == "gpt-nano"
    assert (result.task_type, result.dataset_type, result.dataset_name) == ("text-generation", "chitchat", "package x")
    assert (result.dataset_split, result.dataset_args) == ("test", {"content_sha256": "abc"})
    assert (result.metric_type, result.metric_value) == ("perplexity", 9.0)
    assert result.metric_name == "Perplexity per token (95 % interval 8 to 10)"
    assert "co2_eq_emissions" not in card.data
    translation = ModelCard.load(folder / "score.md").data.eval_results
    assert {(found.task_type, found.metric_type, found.metric_value) for found in translation} == {
        ("translation", "bleu", 30.0),
        ("translation", "chrf", 50.0),
    }


def test_emissions_by_hand_of_what_was_trained_alone(grid, site):
    """7200 J = 0.002 kWh; x 1.5 x 400 g/kWh = 1.2 g."""
    assert export(grid, "model-index", site=site) == 0
    folder = grid / "exports" / "model-index"
    emissions = ModelCard.load(folder / "train.md").data["co2_eq_emissions"]
    assert emissions["emissions"] == pytest.approx(1.2)
    assert emissions["training_type"] == "pre-training"
    assert emissions["geographical_location"] == "lab"
    assert emissions["hardware_used"] == "1 x CPU X"
    assert "energy is modelled" in emissions["source"]
    assert "400 g CO2e/kWh (Grid, 2024)" in emissions["source"]
    assert "co2_eq_emissions" not in ModelCard.load(folder / "score.md").data


def test_a_training_of_given_weights_is_fine_tuning_and_without_energy_has_no_emissions(study, site):
    tuned, unmeasured = trained(), {**trained(), "run_id": "unmeasured"}
    tuned["model"] = {"source": "somewhere"}
    unmeasured["summary"]["run"] = {}
    folder = study(tuned, unmeasured)
    export(folder, "model-index", site=site)
    cards = folder / "exports" / "model-index"
    assert ModelCard.load(cards / "train.md").data["co2_eq_emissions"]["training_type"] == "fine-tuning"
    assert "co2_eq_emissions" not in ModelCard.load(cards / "unmeasured.md").data


def test_a_name_cannot_break_the_cards_yaml(study):
    made = trained()
    made["cell"]["model"] = made["data"]["source"] = "x: [y]\n---\n# 'z'"
    folder = study(made)
    export(folder, "model-index")
    card = ModelCard.load(folder / "exports" / "model-index" / "train.md")
    assert card.data.model_name == card.data.eval_results[0].dataset_name == "x: [y]\n---\n# 'z'"


def test_the_statement_of_compute_by_hand(grid):
    """120 + 60 + 30 s = 0.0583 h; with two GPUs for 60 s 270 s = 0.075 h; 7200 J = 0.002 kWh; 3600 J = 0.001 kWh."""
    assert export(grid, "compute-statement") == 0
    text = (grid / "exports" / "compute-statement.md").read_text().split("\n\n")
    assert text[0].replace("\\", "") == (
        "The study made 3 runs on CPU X (25 GB main memory) and GPU_H (80 GB GPU memory, 25 GB main memory). "
        "A run with a result took 1 to 2 minutes (median 1.5). "
        "All runs together took 0.0583 hours (0.075 device-hours). "
        "Of the energy of whole runs, loading and warm-up included, 0.001 kWh is measured counter (1 run) and "
        "0.002 (0.001 to 0.003) kWh is modelled (1 run). The energy of 1 of 3 runs is missing and is in no sum. "
        "This includes 1 run without a result (1 oom), which took 0.00833 hours. "
        "Runs that were deleted or replaced by a later execution, and work outside of this study, left no record and are "
        "not included."
    )
    assert "| CPU X | 25 GB main memory | 2 | 1 | 0.0417 | 0.0417 | 0.002 (0.001 to 0.003) | modelled | 1 |" in text[1]
    assert "| broken | oom | 0.5 |  | unavailable |" in text[2]


def test_the_statement_in_latex_is_escaped(study):
    folder = study({**record("a_b"), "cell": {**record("a")["cell"], "device_name": "X_1 & 50 %"}})
    export(folder, "compute-statement")
    latex = (folder / "exports" / "compute-statement.tex").read_text()
    assert r"X\_1 \& 50 \% (25 GB main memory)" in latex
    assert r"a\_b & ok & 2 &  & unavailable \\" in latex
    assert latex.count(r"\begin{longtable}") == latex.count(r"\end{longtable}") == 2
    assert "X\\_1 & 50 %" in (folder / "exports" / "compute-statement.md").read_text()


def test_the_statement_says_what_is_not_recorded(study):
    bare = record("bare", environment={}, config={})
    text = compute_statement.statement(compute_statement.compute(open_study(study(bare), None)), unreadable=2)
    assert "CPU X (memory not recorded)" in text
    assert "the number of devices is not recorded" in text
    assert "The energy of 1 of 1 run is missing" in text
    assert "could not be read, and are in no sum: 2." in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (100.0, "100"), (0.000892, "0.000892"), (1.5, "1.5"), (0.0, "0"), (99.96, "100")],
)
def test_numbers_of_the_statement(value, text):
    assert compute_statement._number(value) == text


def test_croissant_describes_the_file_and_every_column(tabled):
    assert export(tabled, "croissant") == 0
    metadata = json.loads((tabled / "exports" / "croissant.json").read_text())
    table = tabled / "tables" / "runs.csv"
    assert (metadata["@type"], metadata["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.1")
    [file] = metadata["distribution"]
    assert file["@type"] == "cr:FileObject"
    assert (tabled / "exports" / file["contentUrl"]).resolve() == table
    assert file["sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()
    assert file["contentSize"] == f"{table.stat().st_size} B"
    [records] = metadata["recordSet"]
    fields = {field["name"]: field for field in records["field"]}
    assert list(fields) == list(pd.read_csv(table).columns)
    assert all(field["source"]["fileObject"]["@id"] == file["@id"] for field in fields.values())
    assert all(field["source"]["extract"]["column"] == name for name, field in fields.items())
    assert records["key"]["@id"] in {field["@id"] for field in fields.values()}
    types = {name: fields[name]["dataType"] for name in ("run_id", "seed", "duration_s", "bleu", "reason")}
    assert types == {
        "run_id": "sc:Text",
        "seed": "sc:Integer",
        "duration_s": "sc:Float",
        "bleu": "sc:Float",
        "reason": "sc:Text",
    }
    cost = BY_NAME["joules_per_token"]
    assert fields["joules_per_token"]["description"] == (
        f"{cost.label}. {cost.meaning} In mJ/token, after multiplication by 1000."
    )


def test_croissant_passes_the_validator_of_mlcommons(tabled):
    mlcroissant = pytest.importorskip("mlcroissant")
    export(tabled, "croissant")
    dataset = mlcroissant.Dataset(jsonld=tabled / "exports" / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert {found["runs/run_id"] for found in dataset.records("runs")} == {b"train", b"score", b"broken"}


def test_a_column_that_the_registry_does_not_know_keeps_its_name(tabled):
    table = tabled / "tables" / "runs.csv"
    pd.concat([pd.read_csv(table), pd.DataFrame({"mine": [True] * 3})], axis=1).to_csv(table, index=False)
    field = describe(open_study(tabled, None), table)["recordSet"][0]["field"][-1]
    assert (field["description"], field["dataType"]) == ("mine", "sc:Boolean")


def test_tables_that_are_missing_or_of_other_runs_are_refused(grid):
    with pytest.raises(UserError, match=r"no such file\n.*joulebench report s"):
        export(grid, "croissant")
    (grid / "tables").mkdir()
    runs = open_study(grid, None).collected.runs
    runs[:1].to_csv(grid / "tables" / "runs.csv", index=False)
    with pytest.raises(UserError, match="not of the records that are there now"):
        export(grid, "croissant")
    assert not (grid / "exports" / "croissant.json").exists()


def test_an_unknown_format_lists_the_known_ones_and_nothing_is_written(grid):
    with pytest.raises(UserError, match="no export format pdf") as refused:
        export(grid, "mlperf-log", "pdf")
    assert refused.value.allowed == tuple(FORMATS)
    assert not (grid / "exports").exists()


def test_a_record_that_cannot_be_read_is_named(grid, capsys):
    (grid / "half").mkdir()
    (grid / "half" / "record.json").write_text('{"status": ')
    assert export(grid, "compute-statement") == 1
    assert "left out: half" in capsys.readouterr().err
    assert "in no sum: 1." in (grid / "exports" / "compute-statement.md").read_text()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_tracker_names_the_extra(tabled, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"{name} is not installed\n.*pip install 'joulebench\[loggers\]'"):
        export(tabled, name)


def test_every_run_goes_to_wandb(tabled, monkeypatch):
    runs = [MagicMock(), MagicMock(), MagicMock(), MagicMock()]
    wandb = SimpleNamespace(init=MagicMock(side_effect=runs), Artifact=MagicMock())
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    assert export(tabled, "wandb") == 0
    calls = [call.kwargs for call in wandb.init.call_args_list]
    assert [call["name"] for call in calls] == ["broken", "score", "train", "tables"]
    assert {(call["project"], call["group"], call["resume"]) for call in calls} == {("joulebench", "s", "allow")}
    assert len({call["id"] for call in calls}) == 4
    assert calls[2]["config"] == trained()["config"]
    assert [call["tags"] for call in calls[:3]] == [["oom"], ["ok"], ["ok"]]
    assert [run.finish.call_args.kwargs for run in runs] == [{"exit_code": 1}, {"exit_code": 0}, {"exit_code": 0}, {}]
    [summary] = runs[2].summary.update.call_args.args
    assert (summary["perplexity"], summary["run_energy_j"], summary["status"]) == (9.0, 7200.0, "ok")
    assert "bleu" not in summary
    wandb.Artifact.assert_called_once_with("s-tables", type="tables")
    wandb.Artifact.return_value.add_dir.assert_called_once_with(str(tabled / "tables"))
    runs[3].log_artifact.assert_called_once_with(wandb.Artifact.return_value)


def mlflow_stand_in(found):
    client = MagicMock()
    client.get_experiment_by_name.return_value = None
    client.create_experiment.return_value = "7"
    client.search_runs.return_value = found
    client.create_run.side_effect = lambda *args, **kwargs: SimpleNamespace(
        info=SimpleNamespace(run_id=kwargs.get("run_name") or args[3])
    )
    entities = SimpleNamespace(Metric=lambda *fields: fields, Param=lambda *fields: fields)
    return client, SimpleNamespace(MlflowClient=lambda: client, entities=entities)


def test_every_run_goes_to_mlflow_with_the_times_that_it_had(tabled, monkeypatch):
    client, mlflow = mlflow_stand_in([])
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setattr(trackers, "MLFLOW_BATCH", 5)
    assert export(tabled, "mlflow") == 0
    client.create_experiment.assert_called_once_with("joulebench/s")
    calls = [call.args for call in client.create_run.call_args_list[:3]]
    assert [(args[0], args[1], args[3]) for args in calls] == [
        ("7", BEGIN_MS, name) for name in ("broken", "score", "train")
    ]
    assert calls[0][2]["joulebench.status"] == "oom"
    assert [call.args for call in client.set_terminated.call_args_list] == [
        ("broken", "FAILED", BEGIN_MS + 30_000), ("score", "FINISHED", BEGIN_MS + 60_000),
        ("train", "FINISHED", BEGIN_MS + 120_000), ("tables", "FINISHED"),
    ]  # fmt: skip
    batches = [call.kwargs for call in client.log_batch.call_args_list if call.args == ("train",)]
    assert ("perplexity", 9.0, BEGIN_MS, 0) in batches[0]["metrics"]
    assert "bleu" not in {metric[0] for metric in batches[0]["metrics"]}
    params = [param for batch in batches[1:] for param in batch["params"]]
    assert [len(batch["params"]) for batch in batches[1:]] == [5, 4]
    assert dict(params)["task.optimizer.learning_rate"] == "0.002"
    assert "task.optimizer.gradient_clip_norm" not in dict(params)
    client.log_artifacts.assert_called_once_with("tables", str(tabled / "tables"), "tables")
    assert [call.args[:2] for call in client.set_tag.call_args_list] == [
        (name, "joulebench.identity") for name in ("broken", "score", "train", "tables")
    ]


def test_what_mlflow_has_is_not_sent_again(tabled, monkeypatch):
    client, mlflow = mlflow_stand_in(["there"])
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    assert export(tabled, "mlflow") == 0
    assert client.search_runs.call_count == 4
    client.create_run.assert_not_called()
    client.log_artifacts.assert_not_called()


def test_the_real_mlflow_keeps_what_it_is_sent(tabled, monkeypatch, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert export(tabled, "mlflow") == export(tabled, "mlflow") == 0
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("joulebench/s").experiment_id])
    found = {run.info.run_name: run for run in runs}
    assert len(runs) == 4
    assert set(found) == {"train", "score", "broken", "tables"}
    assert found["train"].data.metrics["perplexity"] == 9.0
    assert (found["broken"].info.status, found["train"].info.end_time) == ("FAILED", BEGIN_MS + 120_000)
