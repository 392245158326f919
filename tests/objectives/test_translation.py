from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from harness.config.compose import compose_cell
from harness.data.tokenizers import byte_tokenizer
from harness.data.tokens import IGNORED, TokenRows, token_rows
from harness.errors import UserError
from harness.models.seq2seq import Marks
from harness.models.translator import Translator, shape_of
from harness.objectives.translation import PairBatches, PairEncoder, held_out_pairs
from harness.runner.batches import StepSize

BYTES = byte_tokenizer(None, None, None)


def session(seed=0, devices=1):
    """As much of a session as batches of pairs need."""
    marks = Marks(padding=257, end=256, source_start=(), target_start=(256,))
    network = Translator(compose_cell(["model=transformer-tiny"]).config.model, 258, marks)
    model = SimpleNamespace(
        tokenizer=BYTES, tokenizer_of=lambda side: BYTES, network=network, context_length=32, shape=shape_of(network)
    )
    return SimpleNamespace(
        model=model,
        config=SimpleNamespace(seed=seed, hardware=SimpleNamespace(devices=devices)),
        training_flops=lambda rows, lengths: float(3 * model.shape.forward_flops(rows, lengths)),
    )


def rows_of(texts):
    encoded = BYTES.encode(texts)
    return TokenRows(np.concatenate([np.array(row) for row in encoded]), np.cumsum([len(row) for row in encoded]))


def pair_batches(texts, size, seed=0, context=32, devices=1):
    given = session(seed, devices)
    return PairBatches(
        (rows_of(texts), rows_of([t.upper() for t in texts])), PairEncoder.of(given), context, size, given
    )


TEXTS = ["ab" * n for n in range(1, 16)] * 4
SIZE = StepSize(steps=40, micro_batch_size=4, micro_batches=2)


def test_a_batch_is_padded_shifted_and_ended():
    encoder = PairEncoder.of(session())
    (source, given), wanted = encoder.batch([[1, 2], [3]], [[4], [5, 6, 7]])
    assert source.tolist() == [[1, 2, 256], [3, 256, 257]]
    assert given.tolist() == [[256, 4, 257, 257], [256, 5, 6, 7]]
    assert wanted.tolist() == [[4, 256, IGNORED, IGNORED], [5, 6, 7, 256]]


def test_batches_hold_pairs_of_similar_length_within_the_token_budget():
    batches = pair_batches(TEXTS, SIZE)
    longest = [2 * n + 1 for n in range(1, 16)]
    budget = 4 * sum(longest) / len(longest)
    waste = []
    for index in range(len(batches)):
        (source, given), wanted = batches[index]
        assert source.numel() <= budget or len(source) == 1
        assert source.shape == given.shape == wanted.shape
        waste.append((wanted == IGNORED).float().mean().item())
    assert np.mean(waste) < 0.2  # random batches of these lengths waste 40 %


def test_each_epoch_has_every_pair_once():
    batches = pair_batches(TEXTS, StepSize(steps=400, micro_batch_size=4, micro_batches=1))
    seen, index = [], 0
    while len(seen) < len(TEXTS):
        (source, _), _ = batches[index]
        seen += [BYTES.decode([row])[0] for row in source.tolist()]
        index += 1
    assert sorted(seen) == sorted(TEXTS)


def test_every_device_has_a_row_of_every_batch():
    size = StepSize(steps=60, micro_batch_size=2, micro_batches=1)
    alone, together = (pair_batches(TEXTS, size, devices=devices) for devices in (1, 2))
    assert min(len(alone[index][1]) for index in range(60)) == 1  # a long one
    assert min(len(together[index][1]) for index in range(60)) == 2
    with pytest.raises(UserError, match="1 pair of the training split fits"):
        pair_batches(["ab", "c" * 40], SIZE, devices=2)


def test_the_work_of_batches_is_that_of_their_tensors():
    batches = pair_batches(TEXTS, SIZE)
    work = batches.work(2, 7)
    held = [batches[index] for index in range(2, 7)]
    assert work.samples == sum(len(wanted) for _, wanted in held)
    assert work.tokens == sum(int((wanted != IGNORED).sum()) for _, wanted in held)
    shape = session().model.shape
    flops = sum(3 * shape.forward_flops(len(t), (s.shape[1], t.shape[1])) for (s, t), _ in held)
    assert work.flops == pytest.approx(flops)
    assert work.iterations == 2  # steps end at the micro-batches 3 and 5


def test_the_order_depends_on_the_seed_alone():
    one, same, other = (pair_batches(TEXTS, SIZE, seed) for seed in (0, 0, 1))
    assert all(torch.equal(one[n][1], same[n][1]) for n in range(10))
    assert any(one[n][1].shape != other[n][1].shape or not torch.equal(one[n][1], other[n][1]) for n in range(10))


def test_pairs_that_are_too_long_are_left_out_and_none_at_all_is_an_error():
    batches = pair_batches(["ab", "c" * 40], SIZE)
    assert all(batches[index][0][0].shape[1] == 3 for index in range(10))
    with pytest.raises(UserError, match="no pair of the training split fits into 8 tokens"):
        pair_batches(["c" * 40], SIZE, context=8)


def test_whole_pairs_are_taken_until_the_bytes_are_reached():
    from harness.data.parallel import ParallelCorpus

    corpus = ParallelCorpus({"train": (), "validation": (), "test": (("a", "éé"), ("b", "cc"), ("d", "e"))}, {})
    assert [len(held_out_pairs(corpus, "test", size)) for size in (1, 4, 5, 100)] == [1, 1, 2, 3]


def test_rows_are_encoded_once_and_read_from_their_file(tmp_path):
    rows = token_rows(["ab", "", "c"], "key", BYTES, tmp_path)
    assert [list(rows[n]) for n in range(len(rows))] == [[97, 98], [], [99]]
    assert rows.lengths.tolist() == [2, 0, 1]
    broken = replace(BYTES, encode=lambda texts: 1 / 0)
    assert token_rows(["ab", "", "c"], "key", broken, tmp_path).lengths.tolist() == [2, 0, 1]
    with pytest.raises(ZeroDivisionError):
        token_rows(["ab"], "other", broken, tmp_path)


def test_pairs_that_would_be_cut_have_no_perplexity():
    encoder = PairEncoder.of(session())  # 31 tokens at most, ends included
    short, long = ("a" * 31, "b"), ("a", "b" * 32)
    assert encoder.fitting([short, long]) == [short]
    with pytest.raises(UserError, match="no held-out pair fits into 31 tokens"):
        encoder.fitting([long])
