"""Interrupted trainings go on as if nothing had happened."""

import json

import pandas as pd
import pytest
import torch

from harness.config.compose import compose_cell
from harness.errors import UserError
from harness.runner.checkpoint import FILE, INTERRUPTED, TrainingCheckpoint
from harness.runner.folders import run_folder
from harness.runner.module import LanguageModule
from tests.runner.test_run import run
from tests.runner.test_train import frames


class Stop(Exception):
    """Stands for whatever ends a process."""


def interrupt(monkeypatch, at_batch, error):
    """Let the training step of a batch raise, once."""
    step = LanguageModule.training_step
    left = [1]

    def training_step(self, batch, index):
        if index == at_batch and left:
            left.pop()
            raise error
        return step(self, batch, index)

    monkeypatch.setattr(LanguageModule, "training_step", training_step)


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(train_tiny, monkeypatch, tmp_path):
    overrides = [
        *train_tiny,
        "model.dropout=0.2",
        "task.micro_batch_size=2",
        "task.validation.every=8",
        "task.checkpoint_every=10",
    ]
    elsewhere = [*overrides, f"paths.results_dir={tmp_path / 'undisturbed'}"]
    run(elsewhere)
    interrupt(monkeypatch, at_batch=55, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(overrides)
    folder = run_folder(compose_cell(overrides).config)
    assert (folder / FILE).is_file()
    [lost] = json.loads((folder / INTERRUPTED).read_text())
    assert lost["joules"] > 0
    record = run(overrides)
    (losses, curve), (expected, undisturbed) = frames(overrides), frames(elsewhere)
    assert (losses["loss"] == expected["loss"]).all()
    assert list(curve["perplexity"]) == list(undisturbed["perplexity"])
    assert list(curve["step"]) == [8, 16, 24, 32, 40]
    training = record.summary["training"]
    assert training["interruptions"] == 1
    assert training["lost_energy_j"] == pytest.approx(lost["joules"])
    assert training["steps"] == 40
    windows = pd.read_parquet(folder / "windows.parquet")
    steps = windows[windows["label"] == "training"]
    assert steps["iterations"].sum() == 40  # every step once, in windows from before and after
    assert (steps["start_s"] < 0).any()
    assert training["total_energy_j"] == pytest.approx(steps["total_energy_j"].sum())
    assert not (folder / FILE).exists()


def test_what_a_killed_process_lost_is_unknown_and_every_interruption_counts(train_tiny, monkeypatch):
    overrides = [*train_tiny, "task.checkpoint_every=10"]
    interrupt(monkeypatch, at_batch=25, error=Stop())
    run(overrides)
    with monkeypatch.context() as killed:
        killed.setattr(TrainingCheckpoint, "on_exception", lambda *_: None)
        interrupt(monkeypatch, at_batch=28, error=Stop())
        run(overrides)
    notes = json.loads((run_folder(compose_cell(overrides).config) / INTERRUPTED).read_text())
    assert [note["joules"] is None for note in notes] == [False, True]
    training = run(overrides).summary["training"]
    assert training["interruptions"] == 2
    assert training["lost_energy_j"] is None


def test_an_interrupted_scoring_does_not_cost_the_training(train_tiny, monkeypatch):
    overrides = [*train_tiny, "task.checkpoint_every=10", "task.validation.every=20", "task.stop.patience=1"]
    plain = run([*train_tiny, "task.validation.every=20", "task.stop.patience=1"])
    with monkeypatch.context() as broken:
        broken.setattr("harness.objectives.causal.score_batches", lambda *_: 1 / 0)
        assert run(overrides).status == "failed"
    monkeypatch.setattr(LanguageModule, "training_step", lambda *_: 1 / 0)  # no step is taken again
    record = run(overrides)
    assert record.status == "ok", record.reason
    assert record.quality["perplexity"] == pytest.approx(plain.quality["perplexity"], rel=1e-6)
    assert record.summary["training"]["steps"] == 40
    assert not (run_folder(compose_cell(overrides).config) / FILE).exists()


def test_a_failure_keeps_its_checkpoint_and_a_further_run_goes_on_from_it(train_tiny, monkeypatch):
    overrides = [*train_tiny, "task.checkpoint_every=10"]
    interrupt(monkeypatch, at_batch=25, error=Stop())
    assert run(overrides).status == "failed"
    assert run(overrides).summary["training"]["interruptions"] == 1


@pytest.mark.parametrize("damage", ["fingerprint", "bytes"])
def test_a_checkpoint_that_does_not_fit_is_named(train_tiny, monkeypatch, damage):
    overrides = [*train_tiny, "task.checkpoint_every=10"]
    interrupt(monkeypatch, at_batch=25, error=Stop())
    run(overrides)
    path = run_folder(compose_cell(overrides).config) / FILE
    if damage == "bytes":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        state = torch.load(path, weights_only=True)
        state["joulebench"]["fingerprint"] = "another"
        torch.save(state, path)
    message = "cannot be read" if damage == "bytes" else "belongs to another configuration"
    with pytest.raises(UserError, match=message):
        run(overrides)
