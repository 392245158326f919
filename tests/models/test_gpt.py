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
    shape = {
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 8,
        "head_dim": None,
        "context_length": 16,
        "dropout": 0.0,
        "bias": True,
    }
    return GPTConfig(kind="gpt", name="test", tokenizer=GPT2TokenizerConfig(kind="gpt2"), **{**shape, **changes})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        # GPT-3's table 2.1 rounds; by hand: 12 L C^2 + 13 L C + 2 C + (50257 + 2048) C where heads fill the width,
        ("gpt3-125m", 12 * 12 * 768**2 + 13 * 12 * 768 + 2 * 768 + 52305 * 768),
        ("gpt3-350m", 12 * 24 * 1024**2 + 13 * 24 * 1024 + 2 * 1024 + 52305 * 1024),
        ("gpt3-760m", 12 * 24 * 1536**2 + 13 * 24 * 1536 + 2 * 1536 + 52305 * 1536),
        ("gpt3-2.7b", 12 * 32 * 2560**2 + 13 * 32 * 2560 + 2 * 2560 + 52305 * 2560),
        ("gpt3-6.7b", 12 * 32 * 4096**2 + 13 * 32 * 4096 + 2 * 4096 + 52305 * 4096),
        ("gpt3-175b", 12 * 96 * 12288**2 + 13 * 96 * 12288 + 2 * 12288 + 52305 * 12288),
        # and where they do not, attention has 4 C I + 3 I + C with I the heads' width.
        ("gpt3-1.3b", 24 * (4 * 2048 * 3072 + 3 * 3072 + 8 * 2048**2 + 10 * 2048) + 2 * 2048 + 52305 * 2048),
        ("gpt3-13b", 40 * (4 * 5140 * 5120 + 3 * 5120 + 8 * 5140**2 + 10 * 5140) + 2 * 5140 + 52305 * 5140),
    ],
)
def test_published_shapes_have_their_parameter_counts(name, parameters):
    option = compose_cell([f"model={name}"]).config.model
    assert option.tokenizer.kind == "gpt2"
    with torch.device("meta"):
        assert count_parameters(GPT(option, 50257)) == parameters


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
