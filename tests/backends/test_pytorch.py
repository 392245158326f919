"""PyTorch's two backends, and what a backend is to a cell's identity."""

import json

import pytest

from harness.backends.backend import backend_of
from harness.config.compose import compose_cell, compose_grid, config_dir, option_names
from harness.config.fingerprint import fingerprint, run_id
from harness.errors import Unsupported


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["precision=q8_0"], "a format of llama.cpp's"),
        (["backend=compile", "task=score"], "no decoding steps of one shape"),
        (["backend=compile", "task=train", "model=gpt-nano"], "no decoding steps of one shape"),
    ],
)
def test_what_they_have_not_is_unsupported(overrides, message):
    config = compose_cell(overrides).config
    with pytest.raises(Unsupported, match=message):
        backend_of(config).require_supported(config)


def test_a_backend_is_part_of_a_cell_and_the_default_is_what_there_was_before():
    eager, compiled = (compose_cell(["task=generate", f"backend={name}"]).config for name in ("eager", "compile"))
    assert fingerprint(eager) != fingerprint(compiled)
    assert "-compile-" in run_id(compiled)
    assert "eager" not in run_id(eager)


REFERENCE = config_dir().parent / "results" / "reference"


@pytest.mark.parametrize("study", ["precision_quality", "backends", "batch_size_curve", "model_size", "applications"])
def test_the_committed_runs_of_a_study_are_its_cells(study):
    """All of them, and so that a sweep into the reference results runs nothing again."""
    kept = {path.parent.name for path in (REFERENCE / study).glob("*/record.json")}
    assert kept == {run_id(cell.config) for cell in compose_grid([f"experiment={study}"])}


@pytest.mark.parametrize("group", ["precision", "backend", "compression"])
def test_every_value_of_an_axis_stands_in_a_committed_study(group):
    """With a result, or with the reason why the machine of the reference results cannot have it."""
    seen = set()
    for path in REFERENCE.glob("*/*/record.json"):
        config = json.loads(path.read_text())["config"]
        seen.add(config.get(group, {"name": {"backend": "eager", "compression": "none"}.get(group)})["name"])
    assert set(option_names(group)) <= seen
