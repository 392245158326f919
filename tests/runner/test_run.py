"""Whole runs of small cells."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
import zeus.device.cpu

from harness.config.compose import compose_cell, load_config
from harness.data.tokens import join_documents
from harness.errors import Unsupported, UserError
from harness.load import implementation
from harness.models.gpt import GPT
from harness.runner.folders import run_folder
from harness.runner.precision import cpu_has_float16
from harness.runner.run import execute
from tests.simulate import Load, RealClock, drive_rapl


def run(overrides, **options):
    return execute(compose_cell(overrides), "joulebench run ...", lambda *_: None, **options)


def test_a_trained_model_beats_the_unigram_entropy_of_its_text(train_tiny, cache_dir):
    record = run([*train_tiny, "model.n_layer=2", "task.steps=400", "task.optimizer.learning_rate=0.005"])
    config = compose_cell(train_tiny).config
    corpus = implementation(config.data)(config.data)
    tokenizer = implementation(config.model.tokenizer)(config.model.tokenizer, corpus, cache_dir)
    ids, scored = join_documents(corpus.splits["train"], tokenizer)
    counts = np.bincount(ids[scored])
    shares = counts[counts > 0] / counts.sum()
    unigram_nats = -(shares * np.log(shares)).sum()
    assert record.status == "ok"
    assert record.quality["cross_entropy_nats"] < 0.6 * unigram_nats


def test_a_uniform_model_has_the_vocabulary_as_perplexity(tiny, monkeypatch):
    monkeypatch.setattr(GPT, "forward", lambda self, ids: torch.zeros(*ids.shape, 257))
    record = run(tiny)
    assert record.quality["perplexity"] == pytest.approx(257, rel=1e-5)
    nats = math.log(257) * record.quality["scored_tokens"]
    assert record.quality["bits_per_byte"] == pytest.approx(nats / math.log(2) / record.quality["text_bytes"])


def test_with_bytes_as_tokens_the_three_perplexities_agree(tiny):
    quality = run(tiny).quality
    assert quality["scored_tokens"] == quality["text_bytes"]
    assert quality["perplexity"] == pytest.approx(quality["byte_perplexity"])
    assert quality["bits_per_byte"] == pytest.approx(math.log2(quality["byte_perplexity"]))
    assert quality["perplexity_ci_low"] < quality["perplexity"] < quality["perplexity_ci_high"]


def test_what_a_run_leaves_on_disk(train_tiny):
    record = run(train_tiny)
    folder = run_folder(compose_cell(train_tiny).config)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.yaml",
        "likelihoods.parquet",
        "losses.parquet",
        "record.json",
        "run.log",
        "windows.parquet",
    ]
    stored = json.loads((folder / "record.json").read_text())
    assert stored["schema_version"] == 1
    assert stored["status"] == "ok"
    assert stored["command"] == "joulebench run ..."
    assert stored["overrides"] == train_tiny
    assert stored["fingerprint"] == record.fingerprint
    assert load_config(yaml.safe_load((folder / "config.yaml").read_text())) == compose_cell(train_tiny).config
    assert stored["environment"]["packages"]["torch"] == torch.__version__
    assert stored["model"]["trained"] is True
    assert "INFO harness: ended: ok" in (folder / "run.log").read_text()


def test_power_times_time_is_energy_and_cost_times_throughput_is_power(train_tiny):
    record = run(train_tiny)
    for phase in ("train", "score"):
        summary = record.summary["phases"][phase]
        power = summary["joules_per_token"] * summary["tokens_per_second"]
        assert power == pytest.approx(summary["mean_power_w"])
        assert summary["total_energy_low_j"] < summary["total_energy_j"] < summary["total_energy_high_j"]
        assert summary["energy_method"] == "modelled"
    frame = pd.read_parquet(run_folder(compose_cell(train_tiny).config) / "windows.parquet")
    repeats = frame[frame["repeat"].notna()]
    assert (repeats["total_energy_j"] > 0).all()
    cost = repeats["total_energy_j"] / repeats["tokens"] * (repeats["tokens"] / repeats["duration_s"])
    assert np.allclose(cost, repeats["total_energy_j"] / repeats["duration_s"])


def test_warm_up_and_loading_are_apart_from_what_is_measured(train_tiny):
    run(train_tiny)
    frame = pd.read_parquet(run_folder(compose_cell(train_tiny).config) / "windows.parquet")
    assert list(frame["phase"].unique()) == ["load", "warmup", "train", "score"]
    assert frame[frame["phase"].isin(["load", "warmup"])]["repeat"].isna().all()
    steps = frame[frame["phase"].isin(["warmup", "train"]) & (frame["samples"] % 4 == 0)]["iterations"]
    trained = frame[(frame["phase"] == "train")]["iterations"].sum()
    warmed = frame[(frame["phase"] == "warmup")]["iterations"].iloc[0]
    assert trained + warmed == 40
    assert len(steps)
    ends = frame["start_s"] + frame["duration_s"]
    assert (frame["start_s"].to_numpy()[1:] >= ends.to_numpy()[:-1]).all()


def test_tokens_of_training_windows_are_steps_times_batch_times_context(train_tiny):
    run(train_tiny)
    frame = pd.read_parquet(run_folder(compose_cell(train_tiny).config) / "windows.parquet")
    train = frame[frame["phase"] == "train"]
    assert (train["tokens"] == train["iterations"] * 4 * 32).all()


def test_the_same_seed_gives_the_same_quality_and_another_does_not(train_tiny):
    first, second = run(train_tiny), run(train_tiny)
    assert first.quality["cross_entropy_nats"] == second.quality["cross_entropy_nats"]
    assert run([*train_tiny, "seed=1"]).quality["cross_entropy_nats"] != first.quality["cross_entropy_nats"]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("bf16-mixed", torch.float32)]
)
def test_weights_have_the_dtype_that_the_precision_says(train_tiny, monkeypatch, precision, dtype):
    seen = set()
    forward = GPT.forward

    def spy(self, ids):
        seen.update(parameter.dtype for parameter in self.parameters())
        return forward(self, ids)

    monkeypatch.setattr(GPT, "forward", spy)
    record = run([*train_tiny, f"precision={precision}"])
    assert record.status == "ok"
    assert seen == {dtype}


@pytest.mark.skipif(cpu_has_float16(), reason="this CPU has float16 arithmetic")
@pytest.mark.parametrize("precision", ["fp16", "fp16-mixed"])
def test_a_precision_that_the_cpu_lacks_is_unsupported(tiny, tmp_path, precision):
    with pytest.raises(Unsupported, match=f"precision={precision}"):
        run([*tiny, f"precision={precision}"])
    assert not (tmp_path / "results").exists()
    record = run([*tiny, f"precision={precision}"], keep_bad_input=True)
    assert record.status == "unsupported"
    assert "float16" in record.reason
    assert record.quality == {}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_unsupported(tiny):
    record = run([*tiny, "hardware=cuda"], keep_bad_input=True)
    assert record.status == "unsupported"
    assert "1 CUDA device(s) asked for, 0 usable here" in record.reason


def test_a_failure_is_a_record_with_its_traceback_and_the_energy_spent(train_tiny, monkeypatch):
    def fail(self, ids):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(GPT, "forward", fail)
    record = run(train_tiny)
    assert record.status == "failed"
    assert "ZeroDivisionError: on purpose" in record.reason
    assert record.summary["all_windows"]["load"]["total_energy_j"] > 0
    frame = pd.read_parquet(run_folder(compose_cell(train_tiny).config) / "windows.parquet")
    assert frame.iloc[-1]["flags"].startswith("interrupted")


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_running_out_of_memory_is_its_own_status(tiny, monkeypatch, error):
    def fail(self, ids):
        raise error

    monkeypatch.setattr(GPT, "forward", fail)
    assert run(tiny).status == "oom"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.scoring.context=33", "reads at most 32 tokens"),
        ("data.split.test=0.000001", "test split has no document"),
    ],
)
def test_bad_input_leaves_nothing_behind(tiny, tmp_path, override, message):
    with pytest.raises(UserError, match=message):
        run([*tiny, override])
    assert not (tmp_path / "results").exists()


def test_a_stop_by_the_user_leaves_nothing_behind(tiny, tmp_path, monkeypatch):
    def stop(self, ids):
        raise KeyboardInterrupt

    monkeypatch.setattr(GPT, "forward", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tiny)
    assert not (tmp_path / "results").exists()


def test_without_energy_everything_else_is_measured(tiny):
    record = run([*tiny, "energy=off"])
    phase = record.summary["phases"]["score"]
    assert phase["joules_per_token"] is None
    assert phase["total_energy_j"] is None
    assert phase["energy_method"] == "unavailable"
    assert phase["tokens_per_second"] > 0
    assert record.quality["perplexity"] > 1


WATTS = {"package-0": 70.0, "package-1": 30.0, "psys": 500.0, "dram": 10.0}


@pytest.mark.parametrize(
    ("missing", "components", "watts"),
    [
        ("nothing", "cpu+dram", 110.0),
        ("dram", "cpu", 100.0),
        ("cpu", "cpu", None),
        ("every counter", "cpu", None),
    ],
)
def test_removing_a_source_empties_its_cells_and_the_record_says_why(
    tiny, rapl, monkeypatch, missing, components, watts
):
    drive_rapl(
        rapl, RealClock(), {zone: Load([(0.0, power)], period_s=1e-3) for zone, power in WATTS.items()}, monkeypatch
    )
    if missing == "every counter":
        monkeypatch.setattr(zeus.device.cpu, "rapl_is_available", lambda: False)
    if missing == "cpu":  # The zones are there, and none of them is a package.
        for zone in ("package-0", "package-1"):
            (rapl.counter(zone).parent / "name").write_text("core")
    if missing == "dram":
        shutil.rmtree(rapl.counter("dram").parent)
    cell = compose_cell([*tiny, "energy=counters", "protocol.window_s=0.5"])
    record = execute(cell, "", lambda *_: None)
    phase = record.summary["phases"]["score"]
    assert record.status == "ok"
    assert phase["energy_components"] == components
    assert phase["tokens_per_second"] > 0
    frame = pd.read_parquet(run_folder(cell.config) / "windows.parquet")
    if watts is not None:
        assert phase["energy_method"] == "measured_counter"
        assert phase["mean_power_w"] == pytest.approx(watts, rel=0.02)
        assert ("dram_energy_j" in phase) == (missing == "nothing")
        return
    assert phase["energy_method"] == "unavailable"
    for name in ("joules_per_token", "total_energy_j", "mean_power_w", "cpu_energy_j", "joules_per_token_ci_low"):
        assert phase[name] is None
    assert "dram_energy_j" not in phase
    assert frame["cpu_energy_j"].isna().all()
    assert frame["total_energy_j"].isna().all()
    assert (frame["cpu_energy_method"] == "unavailable").all()
    reason = "RAPL lists no CPU package" if missing == "cpu" else "RAPL"
    assert frame["cpu_energy_notes"].str.contains(reason).all()


def test_a_training_that_fills_no_window_says_so(train_tiny):
    short = [*train_tiny, "task.steps=4", "protocol.warmup_iterations=4"]
    record = run(short)
    assert record.status == "ok"
    phase = record.summary["phases"]["train"]
    assert phase["repeats"] == 0
    assert phase["joules_per_token"] is None
    assert phase["stop_reason"] == "all 4 steps, which fill 0 windows and not 3: raise task.steps"
    strict = run([*short, "protocol.refuse_short_windows=true"])
    assert strict.status == "invalid"
    assert "train: 0 repeats of full length" in strict.reason
    assert record.summary["training"]["total_energy_j"] > 0


def test_the_energy_of_a_training_is_that_of_all_its_steps(train_tiny):
    record = run(train_tiny)
    frame = pd.read_parquet(run_folder(compose_cell(train_tiny).config) / "windows.parquet")
    training = frame[frame["label"] == "training"]
    assert training["iterations"].sum() == 40
    assert set(training["phase"]) == {"warmup", "train"}
    assert record.summary["training"]["total_energy_j"] == pytest.approx(training["total_energy_j"].sum())


def test_a_model_that_diverged_is_invalid(tiny, monkeypatch):
    monkeypatch.setattr(GPT, "forward", lambda self, ids: torch.full((*ids.shape, 257), math.nan))
    record = run(tiny)
    assert record.status == "invalid"
    assert "diverged" in record.reason


def test_several_devices_are_unsupported_and_say_so(tiny):
    with pytest.raises(Unsupported, match="devices=2"):
        run([*tiny, "hardware.devices=2"])


def test_what_a_lead_in_computes_is_not_counted(tiny, monkeypatch):
    cell = compose_cell(["task.scoring.max_bytes=2000", *tiny])
    seen = []
    forward = GPT.forward
    monkeypatch.setattr(GPT, "forward", lambda self, ids: seen.append(ids.numel()) or forward(self, ids))
    monkeypatch.setattr("harness.runner.score.cuda_in_use", lambda: True)
    execute(cell, "", lambda *_: None)
    frame = pd.read_parquet(run_folder(cell.config) / "windows.parquet")
    counted = frame["iterations"].sum()
    assert len(seen) == counted + frame["repeat"].notna().sum()  # one lead-in a repeat


def test_a_checkpoint_is_kept_on_request(train_tiny):
    run([*train_tiny, "task.save_checkpoint=true"])
    folder = run_folder(compose_cell([*train_tiny, "task.save_checkpoint=true"]).config)
    assert (folder / "checkpoint" / "model.safetensors").stat().st_size > 100_000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-mixed", "fp16", "fp16-mixed"])
def test_a_gpu_trains_in_every_precision_and_its_energy_is_measured(train_tiny, precision):
    record = run(
        [
            *train_tiny,
            "hardware=cuda",
            "energy=auto",
            f"precision={precision}",
            "protocol.window_s=0.5",
            "task.steps=400",
        ]
    )
    assert record.status == "ok"
    assert record.summary["phases"]["train"]["gpu_energy_j"] > 0
    assert record.summary["peak_memory_allocated_bytes"] > 0
