"""What is done to a model before it is trained, and what a kept one is good for."""

from dataclasses import replace

import pytest
import torch

from harness.config.compose import compose_cell
from harness.config.task import LoraConfig
from harness.errors import UserError
from harness.models.gpt import GPT
from harness.runner.adapt import add_adapters, freeze, merge_adapters, recompute_activations, trains_all
from harness.runner.folders import run_folder
from tests.runner.test_run import run
from tests.runner.test_train import frames


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


def teacher(train_tiny, steps):
    overrides = [*train_tiny, "task.save_checkpoint=true", f"task.steps={steps}"]
    run(overrides)
    return run_folder(compose_cell(overrides).config)


def test_a_student_learns_from_a_teacher_and_the_record_names_it(train_tiny):
    folder = teacher(train_tiny, 60)
    pattern = f"{str(folder)[:-12]}*"
    longer = [*train_tiny, "task.steps=400", "model.n_embd=24"]  # so that a repeat is filled on a fast machine too
    student = [*longer, f"task.distillation.teacher={pattern}", "task.distillation.weight=1"]
    record = run(student)
    losses = frames(student)[0]["loss"]
    assert losses.iloc[-1] < 0.5 * losses.iloc[0]
    assert record.model["teacher"] == folder.name
    assert record.model["teacher_energy_j"] > 0
    plain = run(longer)
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
    folder = teacher(train_tiny, 1)
    with pytest.raises(UserError, match=message):
        run([*train_tiny, f"task.distillation.teacher={folder}", *overrides])


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
