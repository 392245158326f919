"""ONNX Runtime answers as PyTorch does, from the same weights."""

import json

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

pytest.importorskip("onnxruntime")

from harness.backends.backend import backend_of
from harness.backends.checks import check_onnxruntime
from harness.config.compose import compose_cell
from harness.errors import Unsupported, UserError
from harness.runner.folders import run_folder
from tests.models.test_huggingface import llama, local, score  # noqa: F401 (a fixture)


@pytest.fixture
def generating(tiny, llama):  # noqa: F811
    """A small Llama that answers 6 prompts of 8 tokens with 5 tokens each, 4 at a time."""
    return local(tiny, llama, "task=generate", "task.prompt_tokens=8", "task.output_tokens=5", "task.requests=6",
                 "protocol.min_repeats=3", "protocol.warmup_iterations=1")  # fmt: skip


def outputs(overrides):
    folder = run_folder(compose_cell(overrides).config)
    return [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_the_same_perplexity_and_the_same_texts(generating):
    eager = score(generating)
    record = score([*generating, "backend=onnxruntime"])
    assert record.status == "ok", record.reason
    assert record.cell["backend"] == "onnxruntime"
    assert record.model["backend"].startswith("onnxruntime 1.")
    assert record.quality["cross_entropy_nats"] == pytest.approx(eager.quality["cross_entropy_nats"], rel=1e-5)
    assert outputs([*generating, "backend=onnxruntime"]) == outputs(generating)
    assert record.summary["all_windows"]["compile"]["duration_s"] > 0
    assert record.summary["generation"]["kv_cache_bytes"] == eager.summary["generation"]["kv_cache_bytes"]
    # Float32 weights and a graph around them.
    assert eager.model["weight_bytes"] < record.model["weight_bytes"] < eager.model["weight_bytes"] + 500_000
    folders = list(compose_cache(generating).glob("onnx/*"))
    score([*generating, "backend=onnxruntime"])
    assert list(compose_cache(generating).glob("onnx/*")) == folders  # exported once


def compose_cache(overrides):
    from pathlib import Path

    return Path(compose_cell(overrides).config.paths.cache_dir)


@pytest.mark.slow
def test_prompts_of_different_lengths_do_not_see_their_padding(generating, tmp_path):
    (tmp_path / "prompts.txt").write_text("The cat\nA much longer one, by the river\nToad\n", encoding="utf-8")
    asked = [*generating, f"task.prompts={tmp_path}/prompts.txt", "task.score=false"]
    score(asked)
    record = score([*asked, "backend=onnxruntime"])
    assert record.status == "ok", record.reason
    assert outputs([*asked, "backend=onnxruntime"]) == outputs(asked)


@pytest.mark.slow
def test_eight_bits_are_fewer_bytes_and_nearly_the_same_perplexity(tiny, tmp_path, llama):  # noqa: F811
    """GPT-2's layers hold their weights transposed; by hand, 4 blocks of 12 x 64 x 64 weights lose 3 bytes each."""
    from transformers import AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(llama)
    shape = GPT2Config(vocab_size=len(tokenizer), n_embd=64, n_layer=4, n_head=2, n_positions=64)
    GPT2LMHeadModel(shape).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    overrides = [*local(tiny, tmp_path / "gpt2"), "backend=onnxruntime"]
    plain, small = score(overrides), score([*overrides, "precision=int8-dynamic"])
    assert small.status == "ok", small.reason
    saved = plain.model["weight_bytes"] - small.model["weight_bytes"]
    assert saved == pytest.approx(3 * 4 * 12 * 64 * 64, rel=0.2)
    assert small.quality["cross_entropy_nats"] == pytest.approx(plain.quality["cross_entropy_nats"], rel=0.01)
    assert small.quality["cross_entropy_nats"] != plain.quality["cross_entropy_nats"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=train", "model=gpt-nano"], "does not train"),
        (["precision=bf16"], "precision=bf16: backend=onnxruntime has none such"),
        (["precision=int4"], "precision=int4"),
        (["hardware=cuda"], "for CPUs here"),
    ],
)
def test_what_it_has_not_is_unsupported(overrides, message):
    config = compose_cell([*overrides, "backend=onnxruntime"]).config
    with pytest.raises(Unsupported, match=message):
        backend_of(config).require_supported(config)


def test_families_of_our_own_are_unsupported(tiny):
    with pytest.raises(UserError, match="gpt-nano is no causal model of Hugging Face's format"):
        score([*tiny, "backend=onnxruntime"])


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr("harness.backends.checks.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(UserError, match=r"onnxscript is not installed(.|\n)*joulebench\[onnxruntime\]"):
        check_onnxruntime(compose_cell(["backend=onnxruntime"]).config.backend)


@pytest.mark.slow
def test_pruned_weights_are_pruned_in_the_graph_too(tiny, tmp_path, llama):  # noqa: F811
    """GPT-2's transposed layers are what would be missed: perplexity is that of the pruned model in PyTorch."""
    from transformers import AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(llama)
    shape = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.5)
    GPT2LMHeadModel(shape).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    overrides = [*local(tiny, tmp_path / "gpt2"), "compression=magnitude", "compression.sparsity=0.5"]
    whole = score(local(tiny, tmp_path / "gpt2")).quality["cross_entropy_nats"]
    eager, graph = (
        score([*overrides, f"backend={name}"]).quality["cross_entropy_nats"] for name in ("eager", "onnxruntime")
    )
    assert graph == pytest.approx(eager, rel=1e-5)
    assert abs(eager - whole) > 1e-3
