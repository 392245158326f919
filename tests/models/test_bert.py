from pathlib import Path

import pytest
import torch
import transformers

from harness.config.compose import compose_cell
from harness.config.model import BertConfig, ByteTokenizerConfig
from harness.data.corpus import Corpus
from harness.models.bert import Bert, build
from harness.models.loaded import count_parameters


def config(**changes) -> BertConfig:
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 8, "context_length": 16, "dropout": 0.0}
    tokenizer = ByteTokenizerConfig(kind="byte")
    return BertConfig(kind="bert", name="test", tokenizer=tokenizer, **{**shape, **changes})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # 12 L C^2 + 13 L C in the blocks; (V + 512 + 2) C of embeddings; C^2 + C + 2 C + 2 C of norms and head; V of bias.
        ("bert-tiny", 12 * 2 * 128**2 + 13 * 2 * 128 + 31036 * 128 + 128**2 + 5 * 128 + 30522),
        ("bert-mini", 12 * 4 * 256**2 + 13 * 4 * 256 + 31036 * 256 + 256**2 + 5 * 256 + 30522),
        ("bert-small", 12 * 4 * 512**2 + 13 * 4 * 512 + 31036 * 512 + 512**2 + 5 * 512 + 30522),
        ("bert-medium", 12 * 8 * 512**2 + 13 * 8 * 512 + 31036 * 512 + 512**2 + 5 * 512 + 30522),
        ("bert-base", 109_514_298),  # what Hugging Face's BertForMaskedLM has
    ],
)
def test_the_ladder_has_the_published_sizes_with_berts_vocabulary(name, parameters):
    with torch.device("meta"):
        assert count_parameters(Bert(compose_cell([f"model={name}"]).config.model, 30522)) == parameters


def test_it_computes_what_hugging_faces_bert_computes():
    torch.manual_seed(0)
    ours = Bert(config(), 50).eval()
    theirs = transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=50,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
        )
    ).eval()
    theirs.load_state_dict(in_their_names(ours.state_dict()), strict=False)
    assert count_parameters(ours) == count_parameters(theirs)
    ids = torch.randint(50, (3, 16))
    torch.testing.assert_close(ours(ids), theirs(input_ids=ids).logits, rtol=1e-4, atol=1e-5)


def in_their_names(state):
    """Our parameters under Hugging Face's names."""
    renamed = {
        "bert.embeddings.word_embeddings.weight": state["tokens.weight"],
        "cls.predictions.decoder.weight": state["tokens.weight"],
        "cls.predictions.decoder.bias": state["bias"],
        "cls.predictions.bias": state["bias"],
        "bert.embeddings.position_embeddings.weight": state["positions.weight"],
        "bert.embeddings.token_type_embeddings.weight": state["segments.weight"],
    }
    modules = {
        "norm": "bert.embeddings.LayerNorm",
        "head": "cls.predictions.transform.dense",
        "head_norm": "cls.predictions.transform.LayerNorm",
    }
    for layer in range(2):
        theirs = f"bert.encoder.layer.{layer}"
        modules |= {
            f"blocks.{layer}.attention.out": f"{theirs}.attention.output.dense",
            f"blocks.{layer}.norm_1": f"{theirs}.attention.output.LayerNorm",
            f"blocks.{layer}.up": f"{theirs}.intermediate.dense",
            f"blocks.{layer}.down": f"{theirs}.output.dense",
            f"blocks.{layer}.norm_2": f"{theirs}.output.LayerNorm",
        }
        for kind in ("weight", "bias"):
            parts = state[f"blocks.{layer}.attention.qkv.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                renamed[f"{theirs}.attention.self.{name}.{kind}"] = part
    for ours, theirs in modules.items():
        renamed |= {f"{theirs}.{kind}": state[f"{ours}.{kind}"] for kind in ("weight", "bias")}
    return renamed


def test_a_token_sees_both_sides():
    torch.manual_seed(0)
    network = Bert(config(), 50).eval()
    ids = torch.randint(50, (1, 16))
    changed = ids.clone()
    changed[0, 15] = (changed[0, 15] + 1) % 50
    assert not torch.allclose(network(ids)[0, 0], network(changed)[0, 0])


def test_the_mask_is_the_token_after_the_tokenizers_last():
    loaded = build(config(), Corpus({"train": (), "validation": (), "test": ()}, {}), Path(), torch.float32)
    assert loaded.mask_id == 257
    assert loaded.network(torch.full((1, 4), 257)).shape == (1, 4, 258)
    unused = (16 + 2) * 8
    assert loaded.shape.matmul_parameters == loaded.num_parameters - unused
