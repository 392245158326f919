"""llama.cpp answers as PyTorch does, from the same weights."""

import json

import pytest
import torch

from harness.backends.backend import backend_of
from harness.backends.checks import check_llama_cpp
from harness.config.compose import compose_cell
from harness.errors import Unsupported, UserError
from harness.runner.folders import run_folder
from tests.models.test_huggingface import score


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr("harness.backends.checks.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"llama_cpp is not installed(.|\n)*joulebench\[llama-cpp\]"):
        check_llama_cpp(compose_cell(["backend=llama-cpp"]).config.backend)


llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is an extra; `make llama-cpp` compiles it")


@pytest.fixture
def smollm2(tiny):
    kept = [o for o in tiny if not o.startswith(("model", "tokenizer"))]
    return [*kept, "model=smollm2-135m", "task=generate", "task.prompt_tokens=8", "task.output_tokens=6",
            "task.requests=2", "batch_size=2", "task.scoring.max_bytes=300", "task.scoring.context=64",
            "protocol.min_repeats=3", "protocol.warmup_iterations=1", "backend=llama-cpp"]  # fmt: skip


def outputs(overrides):
    folder = run_folder(compose_cell(overrides).config)
    return [json.loads(line) for line in (folder / "generations.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_the_same_perplexity_and_the_same_texts(smollm2):
    eager = score([*smollm2, "backend=eager"])
    record = score(smollm2)
    assert record.status == "ok", record.reason
    assert record.quality["perplexity"] == pytest.approx(eager.quality["perplexity"], rel=1e-3)
    assert outputs(smollm2) == outputs([*smollm2, "backend=eager"])
    assert record.model["weight_bytes"] == eager.model["weight_bytes"] == 538_060_032
    assert record.model["num_parameters"] == 134_515_008
    assert record.model["backend"].startswith("llama-cpp-python")
    # 30 layers x keys and values x 3 heads x 64 x 14 tokens x 2 bytes, of 2 sequences
    assert record.summary["generation"]["kv_cache_bytes"] == 30 * 2 * 3 * 64 * 14 * 2 * 2


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "bytes_of_32"), [("q8_0", 34), ("q4_0", 18)])
def test_quantised_weights_are_stored_in_their_formats_bytes(smollm2, precision, bytes_of_32):
    """By hand: 61 norms of 576 numbers in float32, all other weights in groups of 32."""
    record = score([*smollm2, f"precision={precision}"])
    assert record.status == "ok", record.reason
    norms = 61 * 576
    assert record.model["weight_bytes"] == (134_515_008 - norms) // 32 * bytes_of_32 + norms * 4
    assert record.quality["perplexity"] > 1
    assert record.model["weights_note"].endswith(f"run by llama.cpp as {precision}")


@pytest.mark.slow
def test_prompts_of_different_lengths_a_rewind_and_one_batch_at_a_time(smollm2, cache_dir):
    config = compose_cell([*smollm2, "precision=q8_0"]).config
    model = backend_of(config).load(config, None)
    network = model.network
    first, second = model.tokenizer.encode(["The capital of France is", "One, two, three"])
    padded = torch.tensor([first, [0] * (len(first) - len(second)) + second])
    padding = torch.tensor([0, len(first) - len(second)])
    together, cache = network.prefill(padded, padding, 32, False)
    alone = torch.cat([network.prefill(torch.tensor([row]), None, 32, False)[0] for row in (first, second)])
    assert (together.argmax(1) == alone.argmax(1)).all()
    assert model.tokenizer.decode([[int(together[0].argmax())]]) == [" Paris"]
    together, cache = network.prefill(padded, padding, 32, False)
    tokens = together.argmax(1)
    once = network.step(tokens, cache)
    network.step(once.argmax(1), cache)
    cache.rewind()
    assert torch.equal(network.step(tokens, cache), once)
    network.prefill(padded, padding, 32, False)
    with pytest.raises(AssertionError, match="one batch of prompts"):
        network.step(tokens, cache)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=train", "model=gpt-nano"], "does not train"),
        (["model=gpt-nano"], "reads GGUF files"),
        (["precision=int8"], "precision=int8: backend=llama-cpp has none such"),
        (["compression=magnitude"], "compression=magnitude"),
        (["hardware=cuda"], "for CPUs here"),
        (["batch_size=257"], "at most 256 at once"),
    ],
)
def test_what_it_has_not_is_unsupported(overrides, message):
    config = compose_cell([*overrides, "backend=llama-cpp"]).config
    with pytest.raises(Unsupported, match=message):
        backend_of(config).require_supported(config)
