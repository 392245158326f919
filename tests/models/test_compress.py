"""Pruned, shortened and quantised models."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from harness.config.compose import compose_cell
from harness.config.compression import DropLayersConfig
from harness.config.fingerprint import fingerprint, run_id
from harness.errors import Unsupported, UserError
from harness.metrics.flops import TransformerShape
from harness.models.compress import (
    blocks_to_drop,
    bytes_of,
    drop_layers,
    inner_layers,
    linear_instead_of_conv1d,
    prune_by_magnitude,
    prune_two_of_four,
    quantise,
    stored_bytes,
)
from harness.models.generation import HuggingFaceGenerator, greedy
from harness.models.gpt import GPT
from harness.models.loaded import LoadedModel, count_parameters
from tests.runner.test_run import run

CPU = torch.device("cpu")
LAYERS, WIDTH, INNER, VOCABULARY = 6, 64, 128, 50
# Of a Llama's block with as many key heads as heads: four square projections, three of the perceptron, two norms.
BLOCK = 4 * WIDTH * WIDTH + 3 * WIDTH * INNER + 2 * WIDTH


def llama(dtype=torch.float32):
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS,
                         num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=32)  # fmt: skip
    return HuggingFaceGenerator(LlamaForCausalLM(config)).to(dtype).eval()


def loaded(network):
    parameters = count_parameters(network)
    shape = TransformerShape(LAYERS, 2, 32, parameters - VOCABULARY * WIDTH, VOCABULARY * WIDTH)
    return LoadedModel(network, None, 32, shape, parameters, parameters - VOCABULARY * WIDTH, {})


def option(group, *overrides):
    return getattr(compose_cell([*overrides]).config, group)


def test_inner_layers_are_all_linear_ones_but_the_output_layer():
    assert len(inner_layers(llama())) == LAYERS * 7
    assert not any("lm_head" in name for name in inner_layers(llama()))


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.9])
def test_the_smallest_weights_of_each_layer_become_zero(sparsity):
    model = loaded(llama())
    before = {name: layer.weight.detach().clone() for name, layer in inner_layers(model.network).items()}
    prune_by_magnitude(option("compression", "compression=magnitude", f"compression.sparsity={sparsity}"), model)
    for name, layer in inner_layers(model.network).items():
        gone = layer.weight == 0
        assert gone.float().mean().item() == pytest.approx(sparsity, abs=1e-3)
        assert before[name][gone].abs().max() <= before[name][~gone].abs().min()
        assert torch.equal(layer.weight[~gone], before[name][~gone])
    assert (model.network.model.lm_head.weight != 0).all()


def test_two_of_every_four_neighbours_become_zero():
    model = loaded(llama())
    layer = next(iter(inner_layers(model.network).values()))
    layer.weight.data[0, :8] = torch.tensor([1.0, -4.0, 0.5, 2.0, 3.0, 3.5, -9.0, 0.1])
    prune_two_of_four(option("compression", "compression=two-of-four"), model)
    assert layer.weight[0, :8].tolist() == [0.0, -4.0, 0.0, 2.0, 0.0, 3.5, -9.0, 0.0]
    for pruned in inner_layers(model.network).values():
        assert ((pruned.weight.view(-1, 4) == 0).sum(dim=1) == 2).all()


@pytest.mark.parametrize(
    ("count", "layers", "which", "expected"),
    [(12, 3, "last", {8, 9, 10}), (6, 2, "even", {2, 4}), (6, 1, "even", {3}), (12, 3, "even", {3, 6, 9}), (4, 2, "last", {1, 2})],
)  # fmt: skip
def test_which_blocks_are_left_out(count, layers, which, expected):
    config = DropLayersConfig(kind="drop-layers", name="drop-layers", layers=layers, which=which)
    assert blocks_to_drop(count, config) == expected


def test_two_blocks_must_be_left():
    config = DropLayersConfig(kind="drop-layers", name="drop-layers", layers=5, which="last")
    with pytest.raises(UserError, match="the model has 6 blocks, and two must be left"):
        blocks_to_drop(6, config)


def test_a_model_without_blocks_is_that_of_the_blocks_that_are_left():
    """Built by hand: the same weights in a Llama of four layers. Its cache and its counts fit too."""
    model = loaded(llama())
    config = model.network.model.config
    expected = LlamaForCausalLM(LlamaConfig(**{**config.to_dict(), "num_hidden_layers": 4})).eval()
    weights = model.network.model.state_dict()
    kept = [0, 1, 2, 5]
    expected.load_state_dict(
        {name.replace(f"layers.{old}.", f"layers.{new}."): tensor
         for new, old in enumerate(kept) for name, tensor in weights.items()
         if f"layers.{old}." in name or (new == 0 and "layers." not in name)}
    )  # fmt: skip
    short = drop_layers(option("compression", "compression=drop-layers"), model)
    ids = torch.randint(VOCABULARY, (2, 9))
    with torch.no_grad():
        assert torch.equal(short.network(ids), expected(ids).logits)
        logits, cache = short.network.prefill(ids, None, 12, fixed=False)
        assert torch.allclose(logits, expected(ids).logits[:, -1], atol=1e-5)
        more = torch.cat([ids, greedy(logits)[:, None]], dim=1)
        assert torch.allclose(short.network.step(more[:, -1], cache), expected(more).logits[:, -1], atol=1e-5)
    assert len(cache.kept.layers) == 4
    assert short.num_parameters == count_parameters(expected) == model.num_parameters - 2 * BLOCK
    assert short.shape == replace(model.shape, layers=4, matmul_parameters=model.shape.matmul_parameters - 2 * BLOCK)


def test_blocks_of_our_own_models_are_dropped_too():
    network = GPT(compose_cell(["model=gpt-nano", "model.n_layer=4", "model.context_length=32"]).config.model, 30)
    parameters = count_parameters(network)
    shape = TransformerShape(4, 4, 32, parameters, 0)
    short = drop_layers(
        option("compression", "compression=drop-layers"),
        LoadedModel(network, None, 32, shape, parameters, parameters, {}),
    )
    assert len(short.network.blocks) == 2
    with torch.no_grad():
        logits, cache = short.network.prefill(torch.tensor([[1, 2, 3]]), None, 6, fixed=False)
        assert torch.isfinite(short.network.step(greedy(logits), cache)).all()


@pytest.mark.parametrize(
    ("name", "dtype", "bits", "largest_error"),
    [("int8", torch.float32, 8, 0.02), ("int8-bf16", torch.bfloat16, 8, 0.05),
     ("int8-dynamic", torch.float32, 8, 0.05), ("int4", torch.bfloat16, 4, 0.4)],
)  # fmt: skip
def test_quantised_weights_are_smaller_and_near(name, dtype, bits, largest_error):
    network, reference = llama(dtype), llama()
    inner = sum(layer.weight.numel() for layer in inner_layers(network).values())
    others = stored_bytes(network) - inner * dtype.itemsize
    quantise(network, option("precision", f"precision={name}"), CPU)
    rows = sum(layer.out_features for layer in inner_layers(network).values())
    scales = {8: rows * (4 + 1), 4: inner // 64 * 2 * dtype.itemsize}[bits]  # a scale and a zero a row, or a group
    assert stored_bytes(network) == others + inner * bits // 8 + scales
    ids = torch.randint(VOCABULARY, (2, 9))
    with torch.no_grad():
        exact, found = reference(ids), network(ids).float()
    error = (found - exact).norm() / exact.norm()
    assert 1e-4 < error < largest_error


def test_layers_that_would_silently_stay_are_an_error():
    """Groups of 128 do not divide a width of 64."""
    with pytest.raises(Unsupported, match="layers would silently stay as they are, such as .*groups of 128"):
        quantise(llama(torch.bfloat16), option("precision", "precision=int4", "precision.group_size=128"), CPU)


def test_gpt2s_transposed_layers_become_linear_ones():
    torch.manual_seed(0)
    network = HuggingFaceGenerator(GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=2))).eval()
    ids = torch.randint(30, (2, 5))
    with torch.no_grad():
        before = network(ids)
        linear_instead_of_conv1d(network)
        assert torch.allclose(network(ids), before, atol=1e-6)
    assert len(inner_layers(network)) == 2 * 4


def test_bytes_of_a_tied_tensor_count_once():
    network = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    network[1].weight = network[0].weight
    assert stored_bytes(network) == 10 * 4 * 4
    assert bytes_of(torch.zeros(3, dtype=torch.bfloat16)) == 6


@pytest.mark.parametrize(
    "more", [["precision=int8"], ["precision=int4", "precision.group_size=32"], ["compression=magnitude"],
             ["compression=two-of-four"], ["compression=drop-layers", "compression.layers=1"]]
)  # fmt: skip
def test_a_run_says_what_its_weights_take(tiny, more):
    cell = [*tiny, "model.n_layer=3", "model.n_embd=64", "model.n_head=2"]
    plain, record = run(cell), run([*cell, *more])
    assert record.status == "ok", record.reason
    smaller = more[0].startswith("precision") or "drop" in more[0]
    assert (record.model["weight_bytes"] < plain.model["weight_bytes"]) == smaller
    assert record.summary["all_windows"]["compress"]["duration_s"] > 0
    assert "compress" not in plain.summary["all_windows"]
    assert record.quality["perplexity"] != plain.quality["perplexity"]


def test_what_is_off_is_no_part_of_a_cell():
    plain, pruned = (compose_cell(o).config for o in ([], ["compression=magnitude"]))
    assert "magnitude-0.5" in run_id(pruned)
    assert fingerprint(plain) != fingerprint(pruned)
    same = compose_cell(["compression=none", "precision=fp32"]).config
    assert fingerprint(plain) == fingerprint(same)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["precision=tf32"], "CPUs have no tf32 arithmetic"),
        (["precision=fp8"], "CPUs have no float8 arithmetic"),
        (
            ["task=train", "precision=int8"],
            "precision=int8 is for trained models: task=train would train on what is left",
        ),
        (["task=train", "compression=magnitude"], "compression=magnitude is for trained models"),
    ],
)
def test_what_cannot_be_done_is_unsupported(tiny, more, message):
    with pytest.raises(Unsupported, match=message):
        run([*tiny, *more])


def test_a_layer_as_wide_as_a_table_of_positions_is_an_inner_layer():
    """GPT-2 medium's width is its context length: only the output layer may be left out."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from harness.models.compress import linear_instead_of_conv1d

    network = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, n_positions=32))
    linear_instead_of_conv1d(network)
    names = set(inner_layers(network))
    assert len(names) == 2 * 4
    assert "lm_head" not in names
    own = compose_cell(["model=gpt-nano", "model.n_embd=32", "model.n_head=2", "model.context_length=32"]).config.model
    from harness.models.gpt import GPT

    assert len(inner_layers(GPT(own, 40))) == 4 * own.n_layer
