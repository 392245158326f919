"""Trainings: what ends them, what is kept of them, and what is done to the model before."""

import json
import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from harness.config.compose import compose_cell
from harness.config.task import LoraConfig, StopConfig
from harness.data.leaks import words
from harness.energy.segments import without_short_repeats
from harness.errors import UserError
from harness.models.gpt import GPT
from harness.runner.adapt import add_adapters, freeze, merge_adapters, recompute_activations, trains_all
from harness.runner.batches import StepSize
from harness.runner.budget import steps_of_budget
from harness.runner.checkpoint import FILE, INTERRUPTED, TrainingCheckpoint
from harness.runner.curve import CurvePoint, missed_target, stop_reason, to_target
from harness.runner.fit import validation_interval
from harness.runner.metering import MeteredTraining
from harness.runner.module import LanguageModule
from harness.runner.outcome import run_folder
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


def network(**changes) -> GPT:
    torch.manual_seed(0)
    model = replace(compose_cell(["model=gpt-nano", *(f"model.{k}={v}" for k, v in changes.items())]).config.model)
    return GPT(model, 50)


def test_frozen_parameters_stay_and_the_others_learn(train_tiny, tmp_path):
    kept = [*train_tiny, "task.save_checkpoint=true", "task.freeze=['tokens.*','blocks.0.attention.*']"]
    record = run(kept)
    from safetensors.torch import load_file

    trained = load_file(run_folder(compose_cell(kept).config) / "checkpoint" / "model.safetensors")
    one = [*train_tiny, "task.save_checkpoint=true", "task.steps=1", "task.optimizer.learning_rate=1e-30"]
    run([*one, "task.optimizer.weight_decay=0"])
    folder = run_folder(compose_cell([*one, "task.optimizer.weight_decay=0"]).config)
    start = load_file(folder / "checkpoint" / "model.safetensors")
    same = {name for name in start if torch.equal(start[name], trained[name])}
    assert same == {"tokens.weight", "blocks.0.attention.qkv.weight", "blocks.0.attention.out.weight"}
    assert record.summary["phases"]["train"]["flops"] is None  # the published count does not hold


@pytest.mark.parametrize(
    ("patterns", "message"), [(["nothing.*"], "no parameter matches"), (["*"], "is left to train")]
)
def test_freezing_nothing_or_everything_is_refused(patterns, message):
    with pytest.raises(UserError, match=message):
        freeze(network(), patterns)


def test_adapters_begin_as_nothing_and_merge_into_the_layers():
    model, ids = network(), torch.randint(50, (2, 8))
    before, names = model(ids), set(model.state_dict())
    add_adapters(model, LoraConfig(rank=2, alpha=4.0, dropout=0.0))
    torch.testing.assert_close(model(ids), before)
    assert not trains_all(model)
    trained = {name.split(".")[-2] for name, p in model.named_parameters() if p.requires_grad}
    assert all("lora" in name for name, p in model.named_parameters() if p.requires_grad)
    assert trained
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    changed = model(ids)
    assert not torch.allclose(changed, before)
    merge_adapters(model)
    torch.testing.assert_close(model(ids), changed, rtol=1e-4, atol=1e-4)
    assert set(model.state_dict()) == names


def test_a_run_with_adapters_keeps_a_plain_checkpoint_that_loads(train_tiny):
    overrides = [*train_tiny, "task.lora.rank=2", "task.save_checkpoint=true"]
    record = run(overrides)
    folder = run_folder(compose_cell(overrides).config)
    tiny = [o for o in train_tiny if not o.startswith(("model", "tokenizer", "task"))]
    again = run([*tiny, "task.scoring.max_bytes=500", "model=checkpoint", f"model.path={folder}"])
    assert again.quality["perplexity"] == pytest.approx(record.quality["perplexity"], rel=1e-5)
    assert again.model["source"] == f"checkpoint of run {record.run_id}"
    assert again.model["training_energy"].endswith(" J")


def test_recomputed_activations_give_the_same_gradients():
    ids = torch.randint(50, (2, 8))
    gradients = []
    for recompute in (False, True):
        model = network()
        if recompute:
            recompute_activations(model)
        model(ids).logsumexp(-1).sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.slow
def test_compilation_is_a_phase_of_its_own_and_changes_no_loss(train_tiny):
    record = run([*train_tiny, "task.compile=true", "task.steps=10"])
    assert record.status == "ok"
    assert record.summary["all_windows"]["compile"]["total_energy_j"] > 0
    compiled = frames([*train_tiny, "task.compile=true", "task.steps=10"])[0]["loss"]
    run([*train_tiny, "task.steps=10"])
    assert list(compiled) == pytest.approx(list(frames([*train_tiny, "task.steps=10"])[0]["loss"]), rel=1e-4)


def teacher(train_tiny):
    overrides = [*train_tiny, "task.save_checkpoint=true", "task.steps=60"]
    run(overrides)
    return run_folder(compose_cell(overrides).config)


def test_a_student_learns_from_a_teacher_and_the_record_names_it(train_tiny):
    folder = teacher(train_tiny)
    pattern = f"{str(folder)[:-12]}*"
    student = [*train_tiny, "model.n_embd=24", f"task.distillation.teacher={pattern}", "task.distillation.weight=1"]
    record = run(student)
    losses = frames(student)[0]["loss"]
    assert losses.iloc[-1] < 0.5 * losses.iloc[0]
    assert record.model["teacher"] == folder.name
    assert record.model["teacher_energy_j"] > 0
    plain = run([*train_tiny, "model.n_embd=24"])
    per_token = [
        r.summary["phases"]["train"]["flops"] / r.summary["phases"]["train"]["tokens"] for r in (record, plain)
    ]
    assert per_token[0] > per_token[1]  # the teacher's forward pass counts


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.distillation.teacher=results/none*"], "no run with a checkpoint there"),
        (["tokenizer@model.tokenizer=bpe", "model.tokenizer.vocab_size=300"], "the teacher's tokenizer is byte"),
        (["model.context_length=64"], "it reads at most 32 tokens, not 64"),
    ],
)
def test_a_teacher_that_does_not_fit_is_named(train_tiny, overrides, message):
    folder = teacher(train_tiny)
    with pytest.raises(UserError, match=message):
        run([*train_tiny, f"task.distillation.teacher={folder}", *overrides])


def test_a_translator_trains_and_is_scored_by_bleu(train_tiny, tmp_path):
    lines = [
        f"{a} {b} {c}"
        for a in ["one", "two", "three", "four"]
        for b in ["red", "blue", "green"]
        for c in ["ox", "cat", "dog", "hen", "owl"]
    ]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    (tmp_path / "b.txt").write_text("\n".join(line.replace("o", "a") for line in lines))
    kept = [o for o in train_tiny if not o.startswith(("model", "data", "tokenizer"))]
    overrides = [
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
    record = run(overrides)
    assert record.status == "ok", record.reason
    assert 0 <= record.quality["bleu"] <= 100
    assert record.quality["perplexity"] > 1
    assert record.summary["phases"]["translate"]["joules_per_token"] > 0
    pairs = record.quality["translated_pairs"]
    assert 4 <= pairs <= 30
    assert all(len(words(line)) == 3 for line in lines)


def test_the_trained_translator_refuses_a_text(train_tiny):
    kept = [o for o in train_tiny if not o.startswith(("model", "tokenizer"))]
    with pytest.raises(UserError, match="holds a text without translations"):
        run([*kept, "model=transformer-tiny"])


def test_a_corpus_smaller_than_a_block_is_named(train_tiny):
    with pytest.raises(UserError, match="fewer than one block"):
        run([*train_tiny, "model.context_length=100000"])


def measured(monkeypatch, pauses=(), steps=20, warmup_s=0):
    """Windows of a training of steps of 1 s, in windows of at least 3 s, paused after some steps."""
    from harness.energy.meter import EnergyMeter, Work

    now = [0.0]
    monkeypatch.setattr("harness.runner.metering.time.perf_counter", lambda: now[0])
    short = ["protocol.warmup_iterations=0", f"protocol.warmup_s={warmup_s}", "protocol.window_s=3"]
    meter = EnergyMeter([])
    protocol = compose_cell(short).config.protocol
    metering = MeteredTraining(meter, protocol, lambda first, last: Work(iterations=last - first))
    trainer = type("Trainer", (), {"max_steps": steps})()
    metering.on_train_start(trainer, None)
    for batch in range(steps):
        now[0] += 1.0
        metering.on_train_batch_end(trainer, None, None, None, batch)
        if batch + 1 in pauses:
            metering.on_validation_start(trainer, None)
            now[0] += 10.0
            metering.on_validation_end(trainer, None)
    metering.on_train_end(trainer, None)
    meter.close()
    return [(w.phase, w.repeat, w.work.iterations) for w in meter.windows if w.phase != "validate"], meter.windows


def test_steps_that_fill_no_further_window_belong_to_the_last(monkeypatch):
    windows, _ = measured(monkeypatch)
    assert windows == [("warmup", None, 1), *[("train", n, 3) for n in (1, 2, 3, 4, 5)], ("train", 6, 4)]


def test_a_pause_cuts_a_repeat_into_windows_that_are_one_again_in_the_summary(monkeypatch):
    windows, _ = measured(monkeypatch, pauses=(5, 6, 20))
    assert windows[:5] == [("warmup", None, 1), ("train", 1, 3), ("train", 2, 1), ("train", 2, 1), ("train", 2, 1)]
    assert [repeat for _, repeat, _ in windows[5:]] == [3, 4, 5, 6]
    assert sum(iterations for _, _, iterations in windows) == 20


def test_a_warm_up_goes_on_after_a_pause(monkeypatch):
    windows, _ = measured(monkeypatch, pauses=(1, 2, 3), warmup_s=4)
    assert windows[:5] == [*[("warmup", None, 1)] * 4, ("train", 1, 3)]


def test_a_last_repeat_that_is_too_short_is_none(monkeypatch):
    """The clock of the windows themselves is not the simulated one: their lengths are put in by hand."""
    _, windows = measured(monkeypatch, steps=4)
    whole = [replace(window, duration_s=float(window.work.iterations)) for window in windows]
    assert [w.repeat for w in without_short_repeats(whole, "train", 3.0)] == [None, 1]
    assert [w.repeat for w in without_short_repeats(whole, "train", 3.5)] == [None, None]


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


def test_a_gpt_learns_one_batch_by_heart():
    torch.manual_seed(0)
    model = network(n_embd=96)
    ids = torch.randint(50, (4, 33))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(200):
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


def test_weights_that_do_not_fit_their_record_are_named(train_tiny):
    kept = [*train_tiny, "task.save_checkpoint=true", "task.steps=1"]
    other = [*kept, "model.n_embd=24"]
    run(kept)
    run(other)
    weights = [run_folder(compose_cell(o).config) / "checkpoint" / "model.safetensors" for o in (kept, other)]
    weights[0].write_bytes(weights[1].read_bytes())
    tiny = [o for o in train_tiny if not o.startswith(("model", "tokenizer", "task"))]
    with pytest.raises(UserError, match="the kept weights do not fit the model of train-gpt-nano"):
        run([*tiny, "model=checkpoint", f"model.path={weights[0].parents[1]}"])
