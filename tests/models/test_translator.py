import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from harness.config.compose import compose_cell
from harness.config.model import ByteTokenizerConfig, DecodingConfig, TranslatorConfig
from harness.models.loaded import count_parameters
from harness.models.seq2seq import Marks
from harness.models.translator import Attention, Translator, shape_of, sinusoids

PAD, END, VOCABULARY = 11, 10, 12
MARKS = Marks(padding=PAD, end=END, source_start=(), target_start=(END,))


def config(beam_size=1, length_penalty=0.6, extra_tokens=50, **changes) -> TranslatorConfig:
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_inner": 16, "context_length": 16, "dropout": 0.0}
    return TranslatorConfig(
        kind="transformer",
        name="test",
        tokenizer=ByteTokenizerConfig(kind="byte"),
        decoding=DecodingConfig(beam_size=beam_size, length_penalty=length_penalty, extra_tokens=extra_tokens),
        **{**shape, **changes},
    )


def network(seed=0, **changes) -> Translator:
    torch.manual_seed(seed)
    return Translator(config(**changes), VOCABULARY, MARKS).eval()


@pytest.mark.parametrize("vocabulary", [1, 37_000])
def test_the_base_model_has_the_papers_parameters(vocabulary):
    with torch.device("meta"):
        base = Translator(compose_cell(["model=transformer-base"]).config.model, vocabulary, MARKS)
    assert count_parameters(base) == 44_138_496 + 512 * vocabulary


@pytest.mark.parametrize(
    ("name", "layers", "width", "inner"),
    [("nano", 2, 64, 256), ("tiny", 2, 128, 512), ("small", 3, 256, 1024), ("big", 6, 1024, 4096)],
)
def test_the_other_sizes_by_hand(name, layers, width, inner):
    attention, norm = 4 * (width**2 + width), 2 * width
    perceptron = 2 * width * inner + width + inner
    expected = layers * (3 * attention + 2 * perceptron + 5 * norm) + 100 * width
    with torch.device("meta"):
        model = Translator(compose_cell([f"model=transformer-{name}"]).config.model, 100, MARKS)
    assert count_parameters(model) == expected


def test_attention_is_the_formula():
    torch.manual_seed(0)
    attention = Attention(config())
    x, y = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    mask = torch.tensor([True, True, False, True, True])[None, None, None]
    found = attention(x, attention.keys_values(y), mask)
    heads = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        q, k, v = (
            linear(z)[0, :, part] for linear, z in ((attention.query, x), (attention.key, y), (attention.value, y))
        )
        scores = (q @ k.T / math.sqrt(4)).masked_fill(~mask[0, 0], -math.inf)
        heads.append(torch.softmax(scores, dim=-1) @ v)
    torch.testing.assert_close(found[0], attention.out(torch.cat(heads, dim=1)))


def test_positions_by_hand():
    table = sinusoids(3, 4)
    expected = [[f(position / 10000 ** (i / 4)) for i in (0, 2) for f in (math.sin, math.cos)] for position in range(3)]
    torch.testing.assert_close(table, torch.tensor(expected))


def test_what_pads_a_source_changes_nothing():
    model = network()
    source, target = torch.tensor([[1, 2, 3, END]]), torch.tensor([[END, 4, 5]])
    padded = F.pad(source, (0, 3), value=PAD)
    torch.testing.assert_close(model(source, target), model(padded, target))


def test_a_target_token_does_not_see_the_future():
    model = network()
    source = torch.tensor([[1, 2, 3, END]])
    one, other = model(source, torch.tensor([[END, 4, 5]])), model(source, torch.tensor([[END, 4, 9]]))
    torch.testing.assert_close(one[:, :2], other[:, :2])
    assert not torch.allclose(one[:, 2], other[:, 2])


def test_cached_steps_give_the_logits_of_the_whole_sequence():
    model = network()
    source = torch.tensor([[1, 2, 3, END], [4, END, PAD, PAD]])
    target = torch.tensor([[END, 4, 5, 6, 7], [END, 1, 1, 2, 3]])
    state = model.start(source)
    steps = [model.step(target[:, position], state) for position in range(5)]
    torch.testing.assert_close(torch.stack(steps, dim=1), model(source, target), rtol=1e-4, atol=1e-5)
    assert state.length == 5


def greedy_by_hand(model, source, longest):
    tokens = [END]
    for _ in range(longest):
        best = model(source, torch.tensor([tokens]))[0, -1].argmax().item()
        tokens.append(best)
        if best == END:
            return tokens[1:-1]
    return tokens[1:]


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_is_greedy(seed):
    model = network(seed, extra_tokens=3)
    sources = [[1, 2, 3, END], [4, 5, END, PAD]]
    expected = [greedy_by_hand(model, torch.tensor([source]), 7) for source in sources]
    assert model.translate(torch.tensor(sources)) == expected


def log_likelihood(model, source, tokens):
    log_p = torch.log_softmax(model(source, torch.tensor([[END, *tokens[:-1]]])), dim=-1)[0]
    return sum(log_p[position, token].item() for position, token in enumerate(tokens))


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_that_holds_everything_finds_the_best_of_all_sequences(seed, penalty):
    """Every target of at most two tokens is ranked by hand; the third step can only be cut."""
    model = network(seed, length_penalty=penalty, beam_size=VOCABULARY**2)
    model.tokens.weight.data *= 4  # far from uniform
    source, longest = torch.tensor([[1, 2, 3, END]]), 2
    model.config = config(context_length=longest)  # type: ignore[assignment]
    ends = [[END]] + [[t, END] for t in range(VOCABULARY) if t != END]
    open_ended = [list(pair) for pair in itertools.product(range(VOCABULARY), repeat=2) if END not in pair]
    ranked = {
        tuple(tokens): log_likelihood(model, source, tokens) / ((5 + len(tokens)) / 6) ** penalty
        for tokens in ends + open_ended
    }
    best = [token for token in max(ranked, key=ranked.__getitem__) if token != END]
    assert model.translate(source) == [best]


def test_flops_of_the_base_model_by_hand():
    """Encoder 12 C^2 a layer and source token; decoder's cross keys and values 2 C^2; the rest 14 C^2; biases and norms."""
    with torch.device("meta"):
        base = Translator(compose_cell(["model=transformer-base"]).config.model, 1000, MARKS)
    shape = shape_of(base)
    assert shape.source_parameters == 18_914_304 + 6 * 2 * (512**2 + 512)
    assert shape.source_parameters + shape.target_parameters == count_parameters(base)
    pairs = 20 * 20 + 30 * 30 + 20 * 30
    products = 2 * (shape.source_parameters * 20 + shape.target_parameters * 30)
    assert shape.forward_flops(3, (20, 30)) == 3 * (products + 4 * 6 * 512 * pairs)


@pytest.mark.slow
def test_a_copy_task_is_learnt():
    """Of 100 unseen strings of digits more than 99 % are copied without a fault."""
    torch.manual_seed(0)
    model = Translator(config(n_embd=32, n_head=4, n_inner=64, n_layer=1, context_length=12), VOCABULARY, MARKS)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    steps = 900
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 100, 1 - step / steps))
    generator = torch.Generator().manual_seed(1)

    def strings(count):
        return torch.randint(10, (count, 8), generator=generator)

    def batch(digits):
        ends = torch.full((len(digits), 1), END)
        return torch.cat([digits, ends], 1), torch.cat([ends, digits], 1), torch.cat([digits, ends], 1)

    for _ in range(steps):
        source, given, wanted = batch(strings(64))
        loss = F.cross_entropy(model(source, given).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    test = strings(500)
    found = model.translate(batch(test)[0])
    assert sum(row == digits for row, digits in zip(found, test.tolist(), strict=True)) > 0.99 * 500
