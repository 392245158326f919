import numpy as np
import pytest
import torch

from harness.data.tokens import IGNORED
from harness.models.bert import Bert
from harness.objectives.masked import Masking, OneMaskRows, cut
from tests.runner.test_run import run

MASK, SEPARATOR, VOCABULARY = 1000, 0, 1000


def test_of_15_percent_of_tokens_80_are_masked_10_replaced_and_10_kept():
    ids = np.random.default_rng(0).integers(1, VOCABULARY, size=(500, 400))
    inputs, targets = Masking(VOCABULARY, SEPARATOR, MASK).draw(ids, np.random.default_rng(1))
    predicted = targets != IGNORED
    assert predicted.mean() == pytest.approx(0.15, abs=0.003)
    assert (targets[predicted] == ids[predicted]).all()
    assert (inputs[~predicted] == ids[~predicted]).all()
    masked = (inputs == MASK)[predicted]
    kept = (inputs == ids)[predicted]
    assert masked.mean() == pytest.approx(0.8, abs=0.01)
    assert (~masked & ~kept).mean() == pytest.approx(0.1, abs=0.01)
    assert kept.mean() == pytest.approx(0.1, abs=0.01)


def test_separators_are_never_predicted_and_something_always_is():
    masking = Masking(VOCABULARY, SEPARATOR, MASK)
    ids = np.array([[SEPARATOR, 5, SEPARATOR]])
    for seed in range(20):
        inputs, targets = masking.draw(ids, np.random.default_rng(seed))
        assert targets.tolist() == [[IGNORED, 5, IGNORED]]
        assert inputs[0, [0, 2]].tolist() == [SEPARATOR, SEPARATOR]


def test_each_scored_token_is_masked_alone_in_its_window():
    ids = np.array([0, 11, 12, 0, 13])  # two documents; windows [0, 11, 12] and [0, 13, padding]
    rows = OneMaskRows(ids, ids > 0, context=3, masking=Masking(VOCABULARY, SEPARATOR, MASK), batch_size=2)
    assert rows.windows.tolist() == [0, 0, 1]
    (first,), first_targets = rows[0]
    (last,), last_targets = rows[1]
    assert first.tolist() == [[0, MASK, 12], [0, 11, MASK]]
    assert first_targets.tolist() == [[IGNORED, 11, IGNORED], [IGNORED, IGNORED, 12]]
    assert last.tolist() == [[0, MASK, 0]]
    assert last_targets.tolist() == [[IGNORED, 13, IGNORED]]
    assert len(list(rows)) == len(rows) == 2


def test_windows_do_not_overlap_and_the_last_is_padded():
    assert cut(np.arange(1, 6), 3, 0).tolist() == [[1, 2, 3], [4, 5, 0]]


MODEL = ["model=bert-tiny", "model.n_layer=1", "model.n_embd=32", "model.context_length=32"]


@pytest.fixture
def masked_tiny(train_tiny):
    return [override for override in train_tiny if not override.startswith("model")] + MODEL


def test_a_uniform_model_has_its_vocabulary_as_pseudo_perplexity(masked_tiny, monkeypatch):
    monkeypatch.setattr(Bert, "forward", lambda self, ids: torch.zeros(*ids.shape, 258) * self.bias.sum())
    quality = run([*masked_tiny, "task.steps=1"]).quality
    assert quality["pseudo_perplexity"] == pytest.approx(258, rel=1e-5)
    assert quality["scored_tokens"] >= 500  # bytes, each a row
    assert quality.get("perplexity") is None


def test_training_lowers_the_pseudo_perplexity(masked_tiny):
    short = run([*masked_tiny, "task.steps=1", "seed=1"]).quality["pseudo_perplexity"]
    record = run([*masked_tiny, "task.steps=150", "batch_size=16", "task.optimizer.learning_rate=0.005", "seed=1"])
    assert record.status == "ok"
    assert record.quality["pseudo_perplexity"] < 0.3 * short
    assert record.quality["pseudo_perplexity_ci_low"] < record.quality["pseudo_perplexity"]
