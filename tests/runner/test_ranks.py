"""Data-parallel training in two processes on the CPU."""

import os
import time

import pandas as pd
import pytest
import torch

from harness.config.compose import compose_cell
from harness.config.fingerprint import fingerprint
from harness.energy.meter import EnergyMeter, Work
from harness.errors import Unsupported, UserError
from harness.objectives.causal import BlockBatches
from harness.runner.batches import StepSize, TrainLoader
from harness.runner.folders import run_folder
from harness.runner.module import LanguageModule
from harness.runner.train import step_size
from tests.runner.test_run import run
from tests.runner.test_train import frames, translation_cell

TWO = "hardware.devices=2"


def test_each_process_serves_its_rows_of_every_micro_batch():
    batches = BlockBatches(torch.arange(500).numpy(), 8, StepSize(3, 4, 1), 0, Work(iterations=1))
    (first,), first_targets = list(TrainLoader(batches, share=(0, 2)))[1]
    (second,), _ = list(TrainLoader(batches, share=(1, 2)))[1]
    (whole,), targets = batches[1]
    assert torch.equal(first, whole[[0, 2]])
    assert torch.equal(second, whole[[1, 3]])
    assert torch.equal(first_targets, targets[[0, 2]])


@pytest.mark.parametrize(
    ("batch", "micro", "devices", "expected"),
    [(8, None, 2, (8, 1)), (8, 2, 2, (4, 2)), (8, 16, 4, (8, 1)), (8, 1, 1, (1, 8))],
)
def test_a_step_is_shared_by_devices_and_cut_into_parts(batch, micro, devices, expected):
    overrides = ["task=train", f"batch_size={batch}", f"hardware.devices={devices}"]
    config = compose_cell([*overrides, *([f"task.micro_batch_size={micro}"] if micro else [])]).config
    size = step_size(type("Session", (), {"config": config})(), config.task)
    assert (size.micro_batch_size, size.micro_batches) == expected


@pytest.mark.slow
def test_two_processes_learn_what_one_does_and_leave_one_record(train_tiny):
    alone, together = [*train_tiny, "task.validation.every=20"], [*train_tiny, "task.validation.every=20", TWO]
    one, two = run(alone), run(together)
    assert two.status == "ok", two.reason
    (losses, curve), (expected, expected_curve) = frames(together), frames(alone)
    assert list(losses["loss"]) == pytest.approx(list(expected["loss"]), rel=1e-3)
    assert list(curve["perplexity"]) == pytest.approx(list(expected_curve["perplexity"]), rel=1e-2)
    assert two.quality["perplexity"] == pytest.approx(one.quality["perplexity"], rel=1e-2)
    training = [record.summary["phases"]["train"] for record in (one, two)]
    assert training[1]["tokens"] / training[1]["iterations"] == training[0]["tokens"] / training[0]["iterations"]
    folder = run_folder(compose_cell(together).config)
    assert {path.name for path in folder.iterdir()} >= {"record.json", "rank1.log", "curve.parquet"}
    assert not (folder / "cell.json").exists()
    assert "LOCAL_RANK" not in os.environ
    assert not torch.distributed.is_initialized()


FSDP = "hardware.strategy=fsdp"


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["task.checkpoint_every=10"]])
def test_two_processes_that_share_the_weights_learn_what_one_does(train_tiny, more):
    train_tiny = [*train_tiny, "task.validation.every=20", *more]
    one, two = run(train_tiny), run([*train_tiny, TWO, FSDP])
    assert two.status == "ok", two.reason
    (losses, curve), (expected, expected_curve) = frames([*train_tiny, TWO, FSDP]), frames(train_tiny)
    assert list(losses["loss"]) == pytest.approx(list(expected["loss"]), rel=1e-3)
    assert list(curve["perplexity"]) == pytest.approx(list(expected_curve["perplexity"]), rel=1e-2)
    assert two.quality["perplexity"] == pytest.approx(one.quality["perplexity"], rel=1e-2)
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_two_processes_translate_what_one_does(train_tiny, tmp_path):
    """Their rows have different numbers of targets: the mean is over all targets, not over processes."""
    overrides = [*translation_cell(train_tiny, tmp_path), "model.dropout=0.0"]
    one, two = run(overrides), run([*overrides, TWO])
    assert two.status == "ok", two.reason
    losses, expected = (pd.read_parquet(run_folder(compose_cell(cell).config) / "losses.parquet")["loss"]
                        for cell in ([*overrides, TWO], overrides))  # fmt: skip
    assert list(losses) == pytest.approx(list(expected), rel=1e-3)
    assert two.quality["perplexity"] == pytest.approx(one.quality["perplexity"], rel=1e-2)


def test_the_strategy_of_one_device_is_no_part_of_a_cell():
    alone = [fingerprint(compose_cell([o]).config) for o in ("hardware.strategy=ddp", FSDP)]
    together = [fingerprint(compose_cell([o, TWO]).config) for o in ("hardware.strategy=ddp", FSDP)]
    assert alone[0] == alone[1]
    assert together[0] != together[1]


@pytest.mark.slow
def test_the_cpu_seconds_of_every_process_are_billed_once(train_tiny, monkeypatch):
    """Two processes that do the same take twice what this one of them takes, however busy the machine is."""
    begin, end, alone = EnergyMeter.begin, EnergyMeter.end, []

    def begin_both(*given, **options):
        opened = begin(*given, **options)
        opened.process_s = time.process_time()
        return opened

    def end_both(self, opened, *given, **options):
        if opened.label == "training":
            alone.append(time.process_time() - opened.process_s)
        return end(self, opened, *given, **options)

    monkeypatch.setattr(EnergyMeter, "begin", begin_both)
    monkeypatch.setattr(EnergyMeter, "end", end_both)
    large = ["model.n_layer=2", "model.n_head=4", "model.n_embd=256", "model.context_length=128", "batch_size=8"]
    overrides = [*train_tiny, *large, TWO, "task.steps=20"]
    record = run(overrides)
    windows = pd.read_parquet(run_folder(compose_cell(overrides).config) / "windows.parquet")
    steps = windows[windows["label"] == "training"]
    assert record.status == "ok", record.reason
    assert len(steps) == len(alone)
    assert 1.5 < steps["own_cpu_s"].sum() / sum(alone) < 2.5


@pytest.mark.slow
def test_a_budget_ends_all_processes_at_the_same_step(train_tiny):
    record = run([*train_tiny, TWO, "task.steps=100000", "task.stop.seconds=0.5", "protocol.warmup_iterations=1"])
    assert record.status == "ok", record.reason
    assert "budget of 0.5 s" in record.summary["phases"]["train"]["stop_reason"]


@pytest.mark.slow
def test_a_process_that_fails_takes_its_partner_along(train_tiny, monkeypatch):
    def training_step(self, batch, index):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(LanguageModule, "training_step", training_step)  # in this process alone
    record = run([*train_tiny, TWO])
    assert record.status == "failed"
    assert "on purpose" in record.reason
    assert not torch.distributed.is_initialized()


def test_what_uses_one_device_says_so(tiny):
    with pytest.raises(Unsupported, match="hardware.devices=2: task=score uses one device"):
        run([*tiny, TWO])


def test_devices_must_divide_the_batch(train_tiny):
    with pytest.raises(UserError, match="hardware.devices=3 does not divide batch_size=4"):
        run([*train_tiny, "hardware.devices=3"])
