"""Likelihoods by document, and their intervals, by hand."""

import math

import numpy as np
import pytest

from harness.data.tokenizers import byte_tokenizer
from harness.data.tokens import scoring_windows
from harness.runner.batches import TextSize
from harness.runner.score import Pieces, likelihood
from tests.runner.test_run import run

BYTES = byte_tokenizer(None, None, None)


def test_nats_are_summed_by_document_whatever_the_windows():
    """'ab' costs 1 nat a byte, 'cdefg' 2: the windows of 4 tokens cut across both."""
    windows = scoring_windows(["ab", "cdefg"], BYTES, context=4, stride=4)
    nats = np.where(windows.targets < ord("c"), 1.0, 2.0).astype(np.float32)
    pieces = Pieces.of_documents(windows, [nats[:1], nats[1:]])
    assert (pieces.kind, pieces.nats.tolist(), pieces.tokens.tolist()) == ("documents", [2.0, 10.0], [2, 5])
    found = likelihood(pieces, TextSize(7, 2), seed=0)
    assert found["perplexity"] == pytest.approx(math.exp(12 / 7))
    assert found["word_perplexity"] == pytest.approx(math.exp(12 / 2))
    assert found["bits_per_byte"] == pytest.approx(12 / 7 / math.log(2))
    # Two documents: a resample holds either one twice, or both.
    assert found["perplexity_ci_low"] == pytest.approx(math.exp(1.0))
    assert found["perplexity_ci_high"] == pytest.approx(math.exp(2.0))
    assert found["word_perplexity_ci_low"] == pytest.approx(math.exp(2.0))
    assert found["word_perplexity_ci_high"] == pytest.approx(math.exp(10.0))
    assert found["bits_per_byte_ci_high"] == pytest.approx(2.0 / math.log(2))


def test_a_single_document_is_drawn_by_its_windows_and_has_no_interval_a_word():
    windows = scoring_windows(["abcdefgh"], BYTES, context=4, stride=4)
    pieces = Pieces.of_documents(windows, [np.where(windows.inputs > 0, 1.0, 0.0).astype(np.float32)])
    assert (pieces.kind, len(pieces.nats)) == ("windows", 2)
    found = likelihood(pieces, TextSize(8, 1), seed=0)
    assert found["perplexity_ci_low"] is not None
    assert found["word_perplexity_ci_low"] is None


def test_the_interval_covers_the_truth():
    """Documents of a known mean cost: 95 % bootstrap intervals over 60 documents hold it in 93 to 97 % of 1,000 trials."""
    generator, covered = np.random.default_rng(7), 0
    for trial in range(1000):
        tokens = generator.integers(20, 60, size=60)
        nats = tokens * generator.normal(2.0, 0.5, size=60)
        found = likelihood(Pieces("documents", nats, tokens, None), TextSize(1, 1), seed=trial)
        covered += math.log(found["perplexity_ci_low"]) <= 2.0 <= math.log(found["perplexity_ci_high"])
    assert 0.92 <= covered / 1000 <= 0.97


@pytest.mark.parametrize("documents", ["packed", "separate", "rolling"])
def test_every_protocol_is_in_the_record_and_scores_each_token_once(tiny, documents):
    record = run([*tiny, f"task.scoring.documents={documents}"])
    assert record.status == "ok", record.reason
    assert record.quality["scored_tokens"] == record.quality["text_bytes"]  # a token a byte
    protocol = record.quality["protocol"]
    assert protocol["separator_id"] == 256
    assert protocol["interval"] == "95 % percentile bootstrap over documents"
    assert (
        record.quality["bits_per_byte_ci_low"]
        < record.quality["bits_per_byte"]
        < record.quality["bits_per_byte_ci_high"]
    )
