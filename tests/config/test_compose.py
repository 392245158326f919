from pathlib import Path

import pytest

from harness.config import schema
from harness.config.compose import compose_cell, compose_grid, config_dir, load_config, option_names, resolved_config
from harness.config.fingerprint import fingerprint, run_id
from harness.errors import UserError

GROUPS = (*schema.GROUPS, "tokenizer")
REQUIRED = {
    ("model", "hub"): ["model.id=org/name"],
    ("task", "lm-eval"): ["task.tasks=[arc_easy]"],
    ("model", "local"): ["model.path=folder"],
    ("model", "gguf"): ["model.path=model.gguf"],
    ("data", "examples"): ["data.path=questions.jsonl"],
    ("data", "file"): ["data.path=notes.txt"],
    ("model", "checkpoint"): ["model.path=results/study/run"],
    ("data", "pair-files"): ["data.source=a.en", "data.target=a.de"],
    ("tokenizer", "saved"): ["model.tokenizer.path=tokenizer.json"],
    ("energy", "wall"): ["energy.wall_meter_csv=power.csv"],
    ("data", "hub"): ["data.id=org/name"],
}


def every_option():
    for group in GROUPS:
        for path in sorted((config_dir() / group).glob("*.yaml")):
            if not path.stem.startswith("_"):
                yield group, path.stem


@pytest.mark.parametrize(("group", "option"), every_option())
def test_every_option_composes(group, option):
    if group == "tokenizer":
        cell = compose_cell(
            ["model=gpt-nano", f"tokenizer@model.tokenizer={option}", *REQUIRED.get((group, option), [])]
        )
        assert cell.config.model.tokenizer.kind == option
        return
    cell = compose_cell([f"{group}={option}", *REQUIRED.get((group, option), [])])
    assert getattr(cell.config, group).name == option


@pytest.mark.parametrize("experiment", [path.stem for path in sorted((config_dir() / "experiment").glob("*.yaml"))])
def test_every_experiment_composes_and_has_its_folder(experiment):
    cells = compose_grid([f"experiment={experiment}"])
    assert cells
    assert all(cell.config.study == experiment for cell in cells)
    folder = config_dir().parent / "experiments" / experiment.removesuffix("-gpu")
    assert (folder / "README.md").is_file()
    assert (folder / "figures.yaml").is_file()


@pytest.mark.parametrize("path", sorted(config_dir().rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_begins_with_a_comment(path):
    assert path.read_text().startswith("#")


def test_the_demo_study_is_the_union_of_its_grids():
    cells = compose_grid(["experiment=demo"])
    axes = [(c.config.task.name, c.config.model.name, c.config.precision.name, c.config.batch_size) for c in cells]
    score = [("score", "smollm2-135m", p, b) for p in ("fp32", "bf16") for b in (1, 8)]
    train = [("train", f"gpt-{m}", p, 16) for m in ("nano", "micro", "mini") for p in ("fp32", "bf16")]
    assert axes == score + train


def test_a_sweep_is_the_product_of_its_values():
    cells = compose_grid(["model=gpt-nano,gpt-micro", "precision=fp32,bf16", "batch_size=8,32"])
    axes = {(c.config.model.name, c.config.precision.name, c.config.batch_size) for c in cells}
    assert len(cells) == 8
    assert axes == {(m, p, b) for m in ("gpt-nano", "gpt-micro") for p in ("fp32", "bf16") for b in (8, 32)}


def test_an_override_replaces_a_grids_values_and_skips_grids_without_the_key():
    cells = compose_grid(["experiment=demo", "precision=fp32", "task.steps=7"])
    assert {cell.config.precision.name for cell in cells} == {"fp32"}
    assert {cell.config.task.steps for cell in cells if cell.config.task.kind == "train"} == {7}
    assert len(cells) == 2 + 3


def test_equal_cells_are_kept_once():
    assert len(compose_grid(["batch_size=4,4,8"])) == 2


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["batch_size=0"], ["batch_size=0", "greater than or equal to 1"]),
        (["batch_size=-3"], ["batch_size=-3", "greater than or equal to 1"]),
        (["batch_size=x"], ["batch_size=x", "valid integer"]),
        (["batch_size=8.5"], ["batch_size=8.5", "valid integer"]),
        (["batch_size"], ["cannot read an override", "key=value"]),
        (["batch_sise=4"], ["batch_sise: no such key", "Did you mean 'batch_size'?"]),
        (["+batch_sise=4"], ["batch_sise: no such key"]),
        (["taks=train"], ["taks: no such key", "Did you mean 'task'?"]),
        (["model=gpt-nanoo"], ["model=gpt-nanoo: no such option", "smollm2-135m", "Did you mean 'gpt-nano'?"]),
        (["precision=fp33"], ["precision=fp33", "allowed: bf16, bf16-mixed, fp16, fp16-mixed, fp32"]),
        (
            ["experiment=demo,scaling"],
            ["experiment=demo,scaling: one study at a time", "joulebench sweep experiment=scaling"],
        ),
        (["experiment=none"], ["experiment=none: no such option", "demo"]),
        (["model=gpt-nano", "model.n_layers=2"], ["model.n_layers", "Did you mean 'model.n_layer'?"]),
        (["model=gpt-nano", "model.n_head=5"], ["n_embd=48", "n_head=5"]),
        (["model=hub"], ["model.id is not set"]),
        (["task.scoring.context=64", "task.scoring.stride=65"], ["stride=65", "context=64"]),
        (["protocol.max_repeats=2"], ["max_repeats=2", "min_repeats=3"]),
        (["study=../elsewhere"], ["study=../elsewhere"]),
        (["seed=-1"], ["seed=-1"]),
        (["batch_size=1,8"], ["2 cells", "joulebench sweep"]),
    ],
)
def test_bad_input_is_named_with_a_remedy(overrides, parts):
    with pytest.raises(UserError) as caught:
        compose_cell(overrides)
    for part in parts:
        assert part in str(caught.value)


def test_bases_of_options_are_not_offered():
    assert not [name for name in option_names("model") if name.startswith("_")]


def test_a_configuration_survives_its_plain_form():
    config = compose_cell(["task=train", "model=gpt-mini"]).config
    assert load_config(resolved_config(config)) == config


def test_nothing_changes_after_loading():
    config = compose_cell([]).config
    with pytest.raises(AttributeError):
        config.batch_size = 2


def test_the_fingerprint_ignores_what_cannot_change_a_result(tmp_path):
    plain = compose_cell([]).config
    moved = compose_cell(["study=other", f"paths.results_dir={tmp_path}", "paths.cache_dir=c"]).config
    assert fingerprint(plain) == fingerprint(moved)


@pytest.mark.parametrize(
    "change", ["seed=1", "batch_size=2", "precision=bf16", "protocol.window_s=3.0", "data.split.seed=1"]
)
def test_the_fingerprint_changes_with_what_can_change_a_result(change):
    assert fingerprint(compose_cell([]).config) != fingerprint(compose_cell([change]).config)


def test_the_run_id_is_readable_and_ends_in_the_fingerprint():
    config = compose_cell(["model=hub", "model.id=org/some model"]).config
    assert run_id(config) == f"score-org-some-model-chitchat-fp32-b8-cpu-s0-{fingerprint(config)[:8]}"


def test_options_come_from_this_checkout():
    assert Path(config_dir(), "config.yaml").is_file()


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=demo"],
        ["experiment=precision_quality"],
        ["experiment=training_batch_size"],
        ["task=train", "model=gpt-nano,gpt-micro", "task.optimizer.learning_rate=1e-3,0.01", "seed=range(0,3)"],
        ["task=generate", "task.prompt='a, b','c'", "task.sampling.top_p=null,0.5"],
        ["task=train", "model=gpt-nano", "task.freeze=[],[blocks.0]"],
        ["task=lm-eval", "task.tasks=[arc_easy,hellaswag]", "batch_size=1,2"],
        ["hardware=h200", "hardware.peak_flops.float32=1e12,2e12", "precision=bf16"],
        ["hydra/launcher=basic", "batch_size=1,2"],
        ["+hardware.peak_flops.int8=1e12", "batch_size=1,2"],
    ],
)
def test_single_values_set_in_copies_give_what_hydra_composes(overrides, monkeypatch):
    from harness.config import compose

    fast = compose_grid(overrides)
    monkeypatch.setattr(compose._Composer, "_with_values", staticmethod(lambda base, values: None))
    slow = compose_grid(overrides)
    assert [cell.config for cell in fast] == [cell.config for cell in slow]
    assert [cell.overrides for cell in fast] == [cell.overrides for cell in slow]
