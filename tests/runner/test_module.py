import math

import pytest
import torch
from torch.nn import functional as F

from harness.config.task import OptimizerConfig
from harness.data.tokens import IGNORED, ScoringWindows
from harness.runner.batches import AtLeast, ScoringBatches, TrainingBatches
from harness.runner.module import learning_rate_factor, window_nats

SETTINGS = OptimizerConfig(
    learning_rate=1.0,
    final_fraction=0.1,
    warmup_steps=4,
    weight_decay=0.1,
    beta1=0.9,
    beta2=0.95,
    gradient_clip_norm=1.0,
)


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (9, 0.1 + 0.9 * 0.5), (14, 0.1), (99, 0.1)],
)
def test_the_schedule_by_hand(step, factor):
    assert learning_rate_factor(step, 14, SETTINGS) == pytest.approx(factor)


def test_a_windows_nats_are_those_of_its_scored_targets():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5)
    targets = torch.tensor([[1, IGNORED, 4], [IGNORED, IGNORED, IGNORED]])
    log_p = torch.log_softmax(logits, dim=-1)
    expected = -(log_p[0, 0, 1] + log_p[0, 2, 4])
    torch.testing.assert_close(window_nats(logits, targets), torch.stack([expected, torch.tensor(0.0)]))


def test_nats_of_bfloat16_logits_are_summed_in_float32():
    torch.manual_seed(0)
    logits = torch.randn(1, 512, 1000).bfloat16()
    targets = torch.randint(1000, (1, 512))
    exact = F.cross_entropy(logits[0].double(), targets[0], reduction="sum")
    assert window_nats(logits, targets).item() == pytest.approx(exact.item(), rel=1e-6)


def windows(count=5, context=4):
    inputs = torch.arange(count * context).view(count, context).numpy()
    targets = (inputs + 1).copy()
    targets[-1, 2:] = IGNORED
    return ScoringWindows(inputs, targets, text_bytes=100, text_words=10)


def test_a_pass_holds_every_window_once():
    batches = ScoringBatches(windows(), batch_size=2)
    assert len(batches) == 3
    assert torch.cat([batches[index][0] for index in range(3)]).tolist() == windows().inputs.tolist()


@pytest.mark.parametrize(("count", "amount"), [(1, (2, 8, 8)), (3, (5, 20, 18)), (4, (7, 28, 26)), (7, (12, 48, 44))])
def test_what_some_batches_hold_by_hand(count, amount):
    held = ScoringBatches(windows(), batch_size=2).amount(count)
    assert (held.windows, held.positions, held.scored_tokens) == amount


def test_a_loop_serves_whole_batches_until_iterations_and_seconds_are_met():
    batches = ScoringBatches(windows(), 2)
    loop = AtLeast(batches, iterations=7, seconds=0.0, elapsed_s=lambda: 0.0)
    assert [len(inputs) for inputs, _ in loop] == [2, 2, 1, 2, 2, 1, 2]
    assert loop.counted == 7
    clock = iter([0.0, 0.5, 0.9, 1.0])
    loop = AtLeast(batches, iterations=1, seconds=1.0, elapsed_s=clock.__next__)
    assert sum(1 for _ in loop) == loop.counted == 4


def test_a_lead_in_is_served_first_and_does_not_count():
    loop = AtLeast(ScoringBatches(windows(), 2), iterations=4, seconds=0.0, elapsed_s=lambda: 0.0, lead_in=1)
    assert [len(inputs) for inputs, _ in loop] == [2, 2, 2, 1, 2]
    assert loop.counted == 4


def test_training_targets_are_the_next_tokens(tmp_path):
    batches = TrainingBatches(torch.arange(1000).numpy(), context=8, batch_size=3, steps=5, seed=0)
    assert len(batches) == 5
    for inputs, targets in batches:
        assert inputs.shape == targets.shape == (3, 8)
        assert (targets == inputs + 1).all()
    same = TrainingBatches(torch.arange(1000).numpy(), context=8, batch_size=3, steps=5, seed=0)
    assert (same[4][0] == batches[4][0]).all()
    assert math.prod(batches[0][0].shape) == 24
