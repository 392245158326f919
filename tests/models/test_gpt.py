import math
from pathlib import Path

import pytest
import torch

from harness.config.compose import compose_cell
from harness.config.model import GPT2TokenizerConfig, GPTConfig
from harness.data.corpus import Corpus
from harness.models.gpt import GPT, SelfAttention, build
from harness.models.loaded import count_parameters

EMPTY = Corpus({"train": (), "validation": (), "test": ()}, {})


def config(**changes) -> GPTConfig:
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 8, "context_length": 16, "dropout": 0.0, "bias": True}
    return GPTConfig(kind="gpt", name="test", tokenizer=GPT2TokenizerConfig(kind="gpt2"), **{**shape, **changes})


@pytest.mark.parametrize(
    ("layers", "heads", "width", "parameters"),
    [
        (12, 12, 768, 124_439_808),
        (24, 16, 1024, 354_823_168),
        (36, 20, 1280, 774_030_080),
        (48, 25, 1600, 1_557_611_200),
    ],
)
def test_gpt2s_published_parameter_counts(layers, heads, width, parameters):
    with torch.device("meta"):
        network = GPT(config(n_layer=layers, n_head=heads, n_embd=width, context_length=1024), 50257)
    assert count_parameters(network) == parameters


def test_non_embedding_parameters_by_hand():
    loaded = build(config(bias=False), EMPTY, Path(), torch.float32)
    block = 8 * 24 + 8 * 8 + 8 * 32 + 32 * 8 + 2 * 8
    assert loaded.num_parameters_non_embedding == 2 * block + 8
    assert loaded.num_parameters == 2 * block + 8 + 50257 * 8 + 16 * 8
    assert loaded.shape.matmul_parameters == loaded.num_parameters - 16 * 8


def test_attention_is_the_formula():
    torch.manual_seed(0)
    attention = SelfAttention(config()).eval()
    x = torch.randn(3, 5, 8)
    q, k, v = attention.qkv(x).split(8, dim=-1)
    heads = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(4)
        future = torch.triu(torch.ones(5, 5, dtype=torch.bool), diagonal=1)
        heads.append(torch.softmax(scores.masked_fill(future, -math.inf), dim=-1) @ v[..., part])
    torch.testing.assert_close(attention(x), attention.out(torch.cat(heads, dim=-1)))


def test_a_token_does_not_see_the_future():
    torch.manual_seed(0)
    network = GPT(config(), 50).eval()
    ids = torch.randint(50, (1, 10))
    changed = ids.clone()
    changed[0, 6:] = (changed[0, 6:] + 1) % 50
    torch.testing.assert_close(network(ids)[:, :6], network(changed)[:, :6])
    assert not torch.allclose(network(ids)[:, 6:], network(changed)[:, 6:])


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    network = GPT(config(dropout=0.5), 50)
    ids = torch.randint(50, (2, 10))
    assert not torch.allclose(network(ids), network(ids))
    network.eval()
    torch.testing.assert_close(network(ids), network(ids))


def test_the_family_grows():
    sizes = []
    for name in ("gpt-nano", "gpt-micro", "gpt-mini", "gpt-25m"):
        option = compose_cell([f"model={name}", "tokenizer@model.tokenizer=byte"]).config.model
        sizes.append(build(option, EMPTY, Path(), torch.float32).num_parameters_non_embedding)
    assert sizes == sorted(sizes)
    assert sizes[-1] == 25_174_528  # 8 x (12 x 512^2 + 2 x 512) + 512
