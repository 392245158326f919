"""Cached generation against the same network without a cache, and against transformers' own `generate`."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, set_seed

from harness.config.compose import compose_cell
from harness.config.sampling import SamplingConfig
from harness.data.prompts import PromptBatch
from harness.metrics.flops import TransformerShape
from harness.models.generation import HuggingFaceGenerator, greedy, sampler
from harness.models.gpt import GPT

VOCABULARY, FILLER = 30, 0
PROMPTS = [[5, 6, 7, 8, 9], [11, 3], [20, 21, 22, 23]]


def gpt():
    torch.manual_seed(0)
    overrides = ["model=gpt-nano", "model.n_layer=2", "model.n_head=2", "model.n_embd=16", "model.context_length=32"]
    return GPT(compose_cell(overrides).config.model, VOCABULARY)


def llama():
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=1, max_position_embeddings=32, **shape)
    return HuggingFaceGenerator(LlamaForCausalLM(config))


def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    return HuggingFaceGenerator(GPT2LMHeadModel(config))


def sharpened(network):
    """Far from uniform, so that ties do not decide."""
    for parameter in network.parameters():
        parameter.data.mul_(3)
    return network.eval()


NETWORKS = {"gpt": gpt, "llama": llama, "gpt2": gpt2}


@pytest.fixture(params=NETWORKS)
def network(request):
    return sharpened(NETWORKS[request.param]())


def without_cache(network, prompt, steps):
    """Greedy continuation, the whole sequence again for every token."""
    row = list(prompt)
    for _ in range(steps):
        row.append(int(network(torch.tensor([row]))[0, -1].argmax()))
    return row[len(prompt) :]


def with_cache(network, prompts, steps, fixed, rewinds=0):
    batch = PromptBatch.of(prompts, FILLER)
    logits, cache = network.prefill(batch.ids_BT, batch.padding_B, batch.length + steps, fixed)
    first = greedy(logits)
    for _ in range(rewinds + 1):
        cache.rewind()
        columns = [first]
        for _ in range(steps - 1):
            columns.append(greedy(network.step(columns[-1], cache)))
    return torch.stack(columns, dim=1).tolist(), cache


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("prompts", [PROMPTS, [PROMPTS[0]], [[1, 2, 3], [4, 5, 6]]])
def test_a_cache_changes_nothing_whatever_the_padding(network, prompts, fixed):
    with torch.no_grad():
        expected = [without_cache(network, prompt, 6) for prompt in prompts]
        found, _ = with_cache(network, prompts, 6, fixed)
    assert found == expected


@pytest.mark.parametrize("fixed", [False, True])
def test_after_a_rewind_the_same_follows(network, fixed):
    with torch.no_grad():
        once, _ = with_cache(network, PROMPTS, 5, fixed)
        again, _ = with_cache(network, PROMPTS, 5, fixed, rewinds=3)
    assert again == once


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_greedy_output_is_that_of_transformers(name, dtype):
    network = sharpened(NETWORKS[name]()).to(dtype)
    batch = PromptBatch.of(PROMPTS, FILLER)
    mask = torch.arange(batch.length) >= batch.padding_B[:, None]
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": FILLER}
    expected = network.model.generate(batch.ids_BT, attention_mask=mask.long(), **options)[:, batch.length :]
    with torch.no_grad():
        found, _ = with_cache(network, PROMPTS, 8, fixed=False)
    assert found == expected.tolist()


def test_the_cache_holds_two_tensors_a_layer(network):
    """2 layers x (keys and values) x 3 sequences x width 16 (the Llama's one head of keys: 8) x positions x 4 bytes."""
    width = 8 if "Llama" in str(network) else 16
    with torch.no_grad():
        _, cache = with_cache(network, PROMPTS, 6, fixed=True)
    assert cache.nbytes == 2 * 2 * 3 * width * (5 + 6) * 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gpt"])
def test_compiled_steps_choose_the_same(name):
    network = sharpened(NETWORKS[name]())
    with torch.inference_mode():
        expected, _ = with_cache(network, PROMPTS, 6, fixed=True)
        network.compile_step()
        found, _ = with_cache(network, PROMPTS, 6, fixed=True)
    assert found == expected


def test_flops_of_prefill_and_steps_are_those_that_pytorch_counts():
    network = llama().eval()
    network.model.set_attn_implementation("eager")
    weights = sum(p.numel() for p in network.parameters() if p.dim() > 1) - VOCABULARY * 16
    shape = TransformerShape(2, 2, 8, weights, VOCABULARY * 16)
    ids = torch.randint(1, VOCABULARY, (3, 7))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        _, cache = network.prefill(ids, None, 9, fixed=False)
    rotations = 3 * 2 * 8 * 7 // 2  # products of positions and frequencies, which the formula leaves out
    assert counter.get_total_flops() == pytest.approx(shape.prefill_flops(3, 7), abs=rotations)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.step(ids[:, 0], cache)
        network.step(ids[:, 0], cache)
    assert counter.get_total_flops() == pytest.approx(shape.step_flops(3, 7, 2), abs=rotations)


def test_weights_that_are_only_looked_up_are_not_streamed():
    tied, untied = gpt2(), llama()
    assert sum(w.numel() for w in tied.streamed_weights()) == sum(w.numel() for w in tied.parameters()) - 32 * 16
    assert sum(w.numel() for w in untied.streamed_weights()) == sum(w.numel() for w in untied.parameters()) - 30 * 16
    own = gpt()
    assert sum(w.numel() for w in own.streamed_weights()) == sum(w.numel() for w in own.parameters()) - 32 * 16


def settings(temperature, top_k, top_p):
    return SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p)


def test_draws_follow_the_distribution_and_repeat_with_the_seed():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(4000, 1)
    device = torch.device("cpu")
    drawn = sampler(settings(1.0, None, None), 0, device)(logits)
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    assert shares.tolist() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert torch.equal(drawn, sampler(settings(1.0, None, None), 0, device)(logits))
    assert not torch.equal(drawn, sampler(settings(1.0, None, None), 1, device)(logits))
    assert set(sampler(settings(1.0, 2, None), 0, device)(logits).tolist()) == {0, 1}
    assert set(sampler(settings(1.0, None, 0.6), 0, device)(logits).tolist()) == {0, 1}
    hot = sampler(settings(2.0, None, None), 0, device)(logits)  # the square roots of the probabilities
    roots = torch.tensor([0.5, 0.3, 0.15, 0.05]).sqrt()
    assert (torch.bincount(hot, minlength=4) / len(hot)).tolist() == pytest.approx(
        (roots / roots.sum()).tolist(), abs=0.03
    )
    assert sampler(settings(0.0, 2, None), 0, device) is greedy


def test_sampling_is_that_of_transformers():
    network = sharpened(llama())
    batch = PromptBatch.of([PROMPTS[0]], FILLER)
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": True, "temperature": 1.5, "top_k": 5}
    set_seed(7)
    expected = network.model.generate(batch.ids_BT, pad_token_id=FILLER, **options)[0, 5:].tolist()
    choose = sampler(settings(1.5, 5, None), 7, torch.device("cpu"))
    with torch.no_grad():
        logits, cache = network.prefill(batch.ids_BT, None, 11, fixed=False)
        found = [choose(logits)]
        while len(found) < 6:
            found.append(choose(network.step(found[-1], cache)))
    assert [int(token) for token in found] == expected
