import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from harness.config.task import OptimizerConfig
from harness.data.tokens import IGNORED
from harness.energy.meter import Work
from harness.objectives.causal import BlockBatches
from harness.runner.batches import AtLeast, ScoringBatches, StepSize, TextSize, TrainLoader, WorkSums, split_windows
from harness.runner.module import cross_entropy, token_nats
from harness.runner.optimizer import build_optimizer, learning_rate_factor

SETTINGS = OptimizerConfig(
    name="adamw",
    learning_rate=1.0,
    schedule="cosine",
    final_fraction=0.1,
    warmup_steps=4,
    weight_decay=0.1,
    beta1=0.9,
    beta2=0.95,
    epsilon=1e-8,
    gradient_clip_norm=1.0,
)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        # Warm-up of four steps, then ten more: step 9 is half-way.
        ("cosine", {0: 0.25, 1: 0.5, 3: 1.0, 4: 1.0, 9: 0.1 + 0.9 * 0.5, 14: 0.1, 99: 0.1}),
        ("linear", {0: 0.25, 3: 1.0, 4: 1.0, 9: 0.55, 14: 0.1, 99: 0.1}),
        # Vaswani et al.: min(n^-0.5, n * 4^-1.5) with n = step + 1, over its peak 4^-0.5.
        ("inverse_sqrt", {0: 0.25, 3: 1.0, 15: 0.5, 99: 0.2}),
        ("constant", {0: 0.25, 3: 1.0, 99: 1.0}),
    ],
)
def test_the_schedules_by_hand(schedule, factors):
    settings = replace(SETTINGS, schedule=schedule)
    found = {step: learning_rate_factor(step, 14, settings) for step in factors}
    assert found == pytest.approx(factors)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimiser_trains_what_is_not_frozen_and_decays_matrices_alone(name, kind):
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
    network[0].weight.requires_grad_(False)
    optimizer = build_optimizer(network, replace(SETTINGS, name=name), scaled=False)
    assert type(optimizer) is kind
    decays = {tuple(p.shape): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {(2, 3): 0.1, (3,): 0.0, (2,): 0.0}


def test_label_smoothing_is_a_mixture_with_the_uniform_distribution():
    torch.manual_seed(0)
    logits, targets = torch.randn(1, 3, 5), torch.tensor([[1, IGNORED, 4]])
    log_p = torch.log_softmax(logits, dim=-1)[0, [0, 2]]
    by_hand = -(0.9 * log_p[[0, 1], [1, 4]] + 0.1 * log_p.mean(dim=-1)).mean()
    torch.testing.assert_close(cross_entropy(logits, ((), targets), label_smoothing=0.1), by_hand)


def test_a_windows_nats_are_those_of_its_scored_targets():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5)
    targets = torch.tensor([[1, IGNORED, 4], [IGNORED, IGNORED, IGNORED]])
    log_p = torch.log_softmax(logits, dim=-1)
    expected = -(log_p[0, 0, 1] + log_p[0, 2, 4])
    by_token = token_nats(logits, targets)
    torch.testing.assert_close(by_token.sum(dim=1), torch.stack([expected, torch.tensor(0.0)]))
    assert by_token[0, 1] == 0


def test_nats_of_bfloat16_logits_are_summed_in_float32():
    torch.manual_seed(0)
    logits = torch.randn(1, 512, 1000).bfloat16()
    targets = torch.randint(1000, (1, 512))
    exact = F.cross_entropy(logits[0].double(), targets[0], reduction="sum")
    assert token_nats(logits, targets).sum().item() == pytest.approx(exact.item(), rel=1e-6)


def batches_of(count=5, context=4, batch_size=2):
    """Windows in batches, each with its work; the last window has two tokens that are not scored."""
    inputs = torch.arange(count * context).view(count, context)
    targets = inputs + 1
    targets[-1, 2:] = IGNORED
    batches = split_windows(inputs.numpy(), targets.numpy(), batch_size, np.full(len(inputs), inputs.shape[1]))
    work = [
        Work(iterations=1, samples=len(t), tokens=int((t != IGNORED).sum()), flops=10.0 * len(t)) for _, t in batches
    ]
    return ScoringBatches(batches, work, TextSize(100, 10))


def test_a_pass_holds_every_window_once():
    batches = batches_of()
    assert len(batches) == 3
    assert torch.cat([batches[index][0][0] for index in range(3)]).flatten().tolist() == list(range(20))
    assert batches.tokens_by_window == [4, 4, 4, 4, 2]


@pytest.mark.parametrize(("count", "amount"), [(1, (2, 8, 20)), (3, (5, 18, 50)), (4, (7, 26, 70)), (7, (12, 44, 120))])
def test_the_work_of_some_batches_by_hand(count, amount):
    work = batches_of().work(count)
    assert (work.samples, work.tokens, work.flops) == amount
    assert work.iterations == count
    assert work.memory_bytes is None  # no batch has it


def test_work_between_two_batches_is_a_difference_and_starts_over():
    sums = WorkSums([Work(iterations=0, tokens=3), Work(iterations=1, tokens=5)])
    assert [sums.between(first, last).tokens for first, last in [(0, 0), (0, 1), (1, 2), (1, 3), (0, 7)]] == [
        0,
        3,
        5,
        8,
        27,
    ]
    assert sums.between(0, 7).iterations == 3


def test_a_step_of_several_parts_is_one_iteration():
    size = StepSize(steps=3, micro_batch_size=4, micro_batches=2)
    sums = size.repeated(Work(iterations=1, samples=4, tokens=40))
    assert [(sums.between(0, n).iterations, sums.between(0, n).samples) for n in (1, 2, 3, 4)] == [
        (0, 4),
        (1, 8),
        (1, 12),
        (2, 16),
    ]


def test_a_loop_serves_whole_batches_until_iterations_and_seconds_are_met():
    batches = batches_of()
    loop = AtLeast(batches, iterations=7, seconds=0.0, elapsed_s=lambda: 0.0)
    assert [len(inputs) for (inputs,), _ in loop] == [2, 2, 1, 2, 2, 1, 2]
    assert loop.counted == 7
    clock = iter([0.0, 0.5, 0.9, 1.0])
    loop = AtLeast(batches, iterations=1, seconds=1.0, elapsed_s=clock.__next__)
    assert sum(1 for _ in loop) == loop.counted == 4


def test_a_lead_in_is_served_first_and_does_not_count():
    loop = AtLeast(batches_of(), iterations=4, seconds=0.0, elapsed_s=lambda: 0.0, lead_in=1)
    assert [len(inputs) for (inputs,), _ in loop] == [2, 2, 2, 1, 2]
    assert loop.counted == 4


def blocks(micro_batch_size=3, micro_batches=1):
    size = StepSize(steps=5, micro_batch_size=micro_batch_size, micro_batches=micro_batches)
    return BlockBatches(torch.arange(1000).numpy(), 8, size, seed=0, work=Work(iterations=1))


def test_training_targets_are_the_next_tokens():
    batches = blocks()
    assert len(batches) == 5
    for (inputs,), targets in (batches[index] for index in range(5)):
        assert inputs.shape == targets.shape == (3, 8)
        assert (targets == inputs + 1).all()
    assert (blocks()[4][1] == batches[4][1]).all()
    assert math.prod(batches[0][1].shape) == 24


def test_a_step_has_the_same_blocks_however_it_is_cut():
    whole, cut = blocks(micro_batch_size=6), blocks(micro_batch_size=3, micro_batches=2)
    assert len(cut) == 2 * len(whole)
    assert (torch.cat([cut[2][1], cut[3][1]]) == whole[1][1]).all()


def test_a_loader_goes_on_where_it_is_told_and_keeps_the_time_that_batches_take():
    loader = TrainLoader(blocks(), start=3)
    assert len(loader) == 5  # of the whole training, as the Trainer counts
    served = list(loader)
    assert len(served) == 2
    assert (served[0][1] == blocks()[3][1]).all()
    assert loader.wait_s > 0
