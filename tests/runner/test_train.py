"""Trainings: what ends them, what is kept of them, and what is done to the model before."""

import math
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from harness.config.compose import compose_cell
from harness.config.task import StopConfig
from harness.energy.figure import Method
from harness.errors import UserError
from harness.runner.batches import StepSize
from harness.runner.budget import check_energy_budget, steps_of_budget
from harness.runner.curve import CurvePoint, missed_target, stop_reason, to_target
from harness.runner.fit import validation_interval
from harness.runner.folders import run_folder
from tests.runner.test_run import run

STOP = StopConfig(tokens=None, seconds=None, joules=None, metric="perplexity", quality=20.0, patience=None)


def point(step, perplexity):
    return CurvePoint(step, 10 * step, step, step / 2, 3.0 * step, None, None, perplexity, None)


def test_the_target_is_met_at_the_first_validation_that_is_good_enough():
    points = [point(10, 30.0), point(20, 20.0), point(30, 25.0)]
    assert to_target(points, STOP) == {
        "target_met": True,
        "energy_to_target_j": 60.0,
        "time_to_target_s": 10.0,
        "tokens_to_target": 200,
        "steps_to_target": 20,
    }
    assert stop_reason(points[:1], STOP) == ""
    assert stop_reason(points[:2], STOP) == "perplexity 20 met the target 20 at step 20"
    assert missed_target(points, STOP) == ""


def test_a_target_that_is_not_met_leaves_the_cells_empty_and_says_how_near_it_came():
    points = [point(10, 30.0), point(20, 22.5), point(30, 25.0)]
    found = to_target(points, STOP)
    assert found.pop("target_met") is False
    assert set(found.values()) == {None}
    assert missed_target(points, STOP) == (
        ", which did not meet the target: perplexity was 22.5 at best (step 20), not 20"
    )
    assert to_target(points, replace(STOP, quality=None))["target_met"] is None


def test_patience_ends_after_validations_without_an_improvement():
    patient = replace(STOP, quality=None, patience=2)
    points = [point(10, 30.0), point(20, 22.0), point(30, 23.0), point(40, 22.0)]
    assert [bool(stop_reason(points[:n], patient)) for n in (1, 2, 3, 4)] == [False, False, False, True]


def frames(overrides):
    folder = run_folder(compose_cell(overrides).config)
    curve = folder / "curve.parquet"
    return pd.read_parquet(folder / "losses.parquet"), pd.read_parquet(curve) if curve.exists() else None


def test_the_curve_says_what_quality_took_and_validation_is_no_training(train_tiny):
    overrides = [*train_tiny, "task.validation.every=10", "task.validation.max_bytes=400"]
    record = run(overrides)
    losses, curve = frames(overrides)
    assert list(curve["step"]) == [10, 20, 30, 40]
    assert list(curve["tokens"]) == [10 * 4 * 32, 20 * 4 * 32, 30 * 4 * 32, 40 * 4 * 32]
    assert curve["perplexity"].is_monotonic_decreasing
    assert curve["train_energy_j"].is_monotonic_increasing
    assert list(losses["step"]) == list(range(1, 41))
    training, everything = record.summary["training"], record.summary["all_windows"]
    assert training["total_energy_j"] == pytest.approx(curve["train_energy_j"].iloc[-1])
    assert everything["validate"]["windows"] == 4
    phases = pd.read_parquet(run_folder(compose_cell(overrides).config) / "windows.parquet").groupby("phase")
    in_training = phases["iterations"].sum()["train"] + phases["iterations"].sum()["warmup"]
    assert in_training >= 40  # scoring warms up too
    assert training["steps"] == 40


def test_bits_per_byte_of_the_curve_by_hand(train_tiny):
    overrides = [*train_tiny, "task.validation.every=40"]
    run(overrides)
    _, curve = frames(overrides)
    assert curve["bits_per_byte"][0] == pytest.approx(math.log2(curve["perplexity"][0]))  # tokens are bytes


def test_training_ends_at_its_target(train_tiny):
    validated = [*train_tiny, "task.steps=60", "task.validation.every=10"]
    run(validated)
    _, curve = frames(validated)
    target = curve["perplexity"][2]
    record = run([*validated, f"task.stop.quality={target * 1.0001:.6f}"])
    training = record.summary["training"]
    assert training["target_met"] is True
    assert training["steps"] == training["steps_to_target"] == 30
    assert training["energy_to_target_j"] == pytest.approx(training["total_energy_j"])
    assert "met the target" in record.summary["phases"]["train"]["stop_reason"]


def test_a_target_that_is_never_met_is_a_result_without_a_figure(train_tiny):
    record = run([*train_tiny, "task.validation.every=20", "task.stop.quality=1.01"])
    training = record.summary["training"]
    assert record.status == "ok"
    assert training["target_met"] is False
    assert training["energy_to_target_j"] is None
    assert "did not meet the target: perplexity was" in record.summary["phases"]["train"]["stop_reason"]


@pytest.mark.parametrize(
    ("stop", "steps", "reason"),
    [
        ("task.stop.tokens=1000", 8, "all 8 steps"),  # of 128 tokens
        ("task.stop.seconds=0.2", None, "budget of 0.2 s"),
        ("task.stop.joules=2", None, "budget of 2 J"),
    ],
)
def test_budgets(train_tiny, stop, steps, reason):
    record = run([*train_tiny, "task.steps=3000", "protocol.warmup_iterations=1", stop])
    training = record.summary["training"]
    assert reason in record.summary["phases"]["train"]["stop_reason"]
    assert steps is None or training["steps"] == steps
    assert 1 <= training["steps"] < 3000
    if "seconds" in stop:
        assert training["duration_s"] >= 0.2
    if "joules" in stop:
        assert training["total_energy_j"] >= 1  # the window that is open is counted at the power of those before


def test_a_budget_of_joules_needs_a_source_of_energy(train_tiny):
    with pytest.raises(UserError, match="this run has no source of energy"):
        run([*train_tiny, "task.stop.joules=2", "energy=off"])


@pytest.mark.parametrize(
    ("sources", "kept"),
    [
        ({"cpu": Method.MODELLED}, True),
        ({"cpu": Method.MODELLED, "gpu": Method.UNAVAILABLE}, False),
        ({"node": Method.WALL_METER, "gpu": Method.UNAVAILABLE}, True),
        ({}, False),
    ],
)
def test_a_budget_of_joules_needs_every_source_that_its_total_is_of(sources, kept):
    """A CPU that is modelled beside a GPU that is not read has no total, and the budget would never end."""
    told = [SimpleNamespace(component=name, method=method) for name, method in sources.items()]
    stop = StopConfig(tokens=None, seconds=None, joules=None, metric="perplexity", quality=None, patience=None)
    expected = nullcontext() if kept else pytest.raises(UserError, match="this run has no source of energy")
    with expected:
        check_energy_budget(replace(stop, joules=2.0), SimpleNamespace(describe=lambda: told))


def test_a_target_needs_validations(train_tiny):
    with pytest.raises(UserError, match=r"stop.quality and stop.patience need validation.every"):
        compose_cell([*train_tiny, "task.stop.quality=3"])


def test_accumulated_parts_are_the_whole_step(train_tiny):
    whole, parts = train_tiny, [*train_tiny, "task.micro_batch_size=1"]
    record = run(parts)
    losses = frames(parts)[0]["loss"].to_numpy()
    run(whole)
    assert losses == pytest.approx(frames(whole)[0]["loss"].to_numpy(), rel=1e-3)
    assert record.summary["training"]["steps"] == 40
    assert record.summary["phases"]["train"]["samples"] == 4 * record.summary["phases"]["train"]["iterations"]


def test_parts_must_divide_the_batch(train_tiny):
    with pytest.raises(
        UserError,
        match=r"micro_batch_size=3 does not divide the 4 sequences of a step on each device\n  allowed: 1, 2, 4",
    ):
        run([*train_tiny, "task.micro_batch_size=3"])


def test_the_same_seed_gives_the_same_losses_bit_for_bit(train_tiny, tmp_path):
    dropped = [*train_tiny, "model.dropout=0.2"]
    run(dropped)
    first = frames(dropped)[0]
    run(dropped)
    assert (frames(dropped)[0]["loss"] == first["loss"]).all()
    run([*dropped, "seed=1"])
    assert (frames([*dropped, "seed=1"])[0]["loss"] != first["loss"]).all()


def translation_cell(train_tiny, tmp_path):
    """A small translator and 60 pairs of three words."""
    lines = [
        f"{a} {b} {c}"
        for a in ["one", "two", "three", "four"]
        for b in ["red", "blue", "green"]
        for c in ["ox", "cat", "dog", "hen", "owl"]
    ]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    (tmp_path / "b.txt").write_text("\n".join(line.replace("o", "a") for line in lines))
    kept = [o for o in train_tiny if not o.startswith(("model", "data", "tokenizer"))]
    return [
        *kept,
        "model=transformer-tiny",
        "model.n_layer=1",
        "model.n_embd=32",
        "model.n_inner=64",
        "model.context_length=32",
        "tokenizer@model.tokenizer=byte",
        "data=pair-files",
        f"data.source={tmp_path}/a.txt",
        f"data.target={tmp_path}/b.txt",
        "data.split.test=0.2",
        "task.steps=30",
        "task.validation.every=15",
    ]


def test_a_translator_trains_and_is_scored_by_bleu(train_tiny, tmp_path):
    record = run(translation_cell(train_tiny, tmp_path))
    assert record.status == "ok", record.reason
    assert 0 <= record.quality["bleu"] <= 100
    assert record.quality["perplexity"] > 1
    assert record.summary["phases"]["translate"]["joules_per_token"] > 0
    pairs = record.quality["translated_pairs"]
    assert 4 <= pairs <= 30


def test_the_trained_translator_refuses_a_text(train_tiny):
    kept = [o for o in train_tiny if not o.startswith(("model", "tokenizer"))]
    with pytest.raises(UserError, match="holds a text without translations"):
        run([*kept, "model=transformer-tiny"])


def test_a_corpus_smaller_than_a_block_is_named(train_tiny):
    with pytest.raises(UserError, match="fewer than one block"):
        run([*train_tiny, "model.context_length=100000"])


class Counting:
    """Micro-batches of 10 tokens, which remembers how many were asked for."""

    def __init__(self):
        self.furthest = 0

    def __len__(self):
        return 200_000

    def work(self, first, last):
        from harness.energy.meter import Work

        self.furthest = max(self.furthest, last)
        return Work(tokens=10 * (last - first))


@pytest.mark.parametrize(("tokens", "steps"), [(None, 100_000), (1, 1), (20, 1), (21, 2), (999, 50), (10**9, 100_000)])
def test_steps_of_a_budget_of_tokens_by_hand(tokens, steps):
    batches, size = Counting(), StepSize(steps=100_000, micro_batch_size=1, micro_batches=2)
    assert steps_of_budget(replace(STOP, tokens=tokens), batches, size) == steps
    assert tokens is None or batches.furthest <= min(4 * steps, 200_000)


def test_validations_every_so_many_tokens():
    settings = compose_cell(["task=train", "task.validation.every_tokens=1010"]).config.task.validation
    size = StepSize(steps=100_000, micro_batch_size=1, micro_batches=2)
    assert validation_interval(settings, Counting(), size) == 50  # steps of 20 tokens
    assert validation_interval(replace(settings, every_tokens=None, every=7), Counting(), size) == 7


def test_validations_are_counted_in_one_way(train_tiny):
    with pytest.raises(UserError, match="not both"):
        compose_cell([*train_tiny, "task.validation.every=3", "task.validation.every_tokens=3"])
