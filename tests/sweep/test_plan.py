"""What a sweep would do, without doing it."""

import json
import subprocess
import sys

import pytest

from harness.__main__ import main
from harness.config.compose import compose_cell
from harness.models.sizes import num_parameters
from harness.runner.run import execute
from harness.sweep.memory import impossible, least_memory_bytes


@pytest.mark.parametrize(
    ("overrides", "parameters"),
    [
        (["model=gpt2"], 124_439_808),
        (["model=gpt2-medium"], 354_823_168),
        (["model=gpt2-large"], 774_030_080),
        (["model=gpt2-xl"], 1_557_611_200),
        (["model=bert-base", "tokenizer@model.tokenizer=bpe", "model.tokenizer.vocab_size=30521"], 109_514_298),
        (["model=transformer-base", "tokenizer@model.tokenizer=bpe", "model.tokenizer.vocab_size=36999"],
         44_138_496 + 512 * 37_000),
        (["model=smollm2-135m"], 134_515_008),
    ],
)  # fmt: skip
def test_parameters_are_known_without_loading_anything(overrides, parameters):
    assert num_parameters(compose_cell(overrides).config.model) == parameters


def test_parameters_of_our_own_families_are_those_of_the_built_ones(tmp_path, text_file):
    from harness.models.loaded import count_parameters
    from harness.runner.run import load

    for name in ("gpt-nano", "bert-tiny", "transformer-nano"):
        data = ["data=bible-en-es"] if name.startswith("transformer") else ["data=file", f"data.path={text_file}"]
        config = compose_cell([f"model={name}", "tokenizer@model.tokenizer=byte", *data]).config
        assert num_parameters(config.model) == count_parameters(load(config)[1].network), name


def test_the_least_memory_by_hand():
    """GPT-2: 4 bytes a weight to score; 16 with gradients and Adam's moments, and 8 x 1024 x 50,257 logits to train."""
    assert least_memory_bytes(compose_cell(["model=gpt2"]).config) == 4 * 124_439_808
    assert least_memory_bytes(compose_cell(["model=gpt2", "precision=bf16"]).config) == 2 * 124_439_808
    training = compose_cell(["model=gpt2", "task=train", "batch_size=8"]).config
    context = training.task.context or 1024
    assert least_memory_bytes(training) == 16 * 124_439_808 + 8 * context * 50_257 * 4
    assert "needs at least 3.6 GB" in impossible(training, 10**9)
    assert impossible(training, None) == ""
    assert impossible(training, 10**12) == ""


def test_a_device_that_is_not_there_is_a_reason():
    config = compose_cell(["hardware=h200"]).config
    reason = impossible(config, None)
    assert reason in ("", "hardware=h200: no NVIDIA driver here")


def test_done_pending_left_and_impossible_cells_are_counted_and_predicted(tiny, capsys):
    for size in (1, 2, 3):
        execute(compose_cell([*tiny, f"batch_size={size}"]), "command", lambda *_: None)
    assert main(["plan", *tiny, "batch_size=1,2,3,4,5"]) == 0
    out = capsys.readouterr().out
    assert "5 cells: 3 done, 2 pending, 0 impossible here" in out
    assert "duration: " in out
    assert "predicted from finished cells" in out
    assert "energy: " in out
    assert out.count("score-gpt-nano-notes") == 2  # the largest contributors
    assert main(["plan", *tiny, "batch_size=1,4", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert [cell["state"] for cell in cells] == ["done", "pending"]
    assert cells[1]["duration_s"]["low"] < cells[1]["duration_s"]["value"] < cells[1]["duration_s"]["high"]
    assert cells[1]["energy_j"]["value"] > 0


def test_cells_too_large_for_this_machine_are_impossible(capsys, tmp_path):
    assert main(["plan", "model=gpt3-175b,gpt-nano", "task=train", f"paths.results_dir={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "2 cells: 0 done, 1 pending, 1 impossible here" in out
    assert "impossible: 1 cells: needs at least 2797.0 GB" in out
    assert "no prediction: nothing like these cells is finished here" in out
    assert not list(tmp_path.iterdir())


def test_nothing_heavy_is_imported(tmp_path):
    code = (
        "import sys; from harness.__main__ import main; "
        f"main(['plan', 'model=gpt-nano', 'batch_size=1,2', 'paths.results_dir={tmp_path}']); "
        "print(sorted({'torch', 'pandas', 'transformers', 'pytorch_lightning'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
