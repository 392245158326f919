"""What a cell will take, by hand; and that the intervals hold what they say."""

import math

import numpy as np
import pytest

from harness.config.compose import compose_cell
from harness.sweep.plan import planned_axes
from harness.sweep.predict import UNKNOWN_SIGMA, CellPredictor, Predictor


def axes(**given):
    return {"task": "score", "hardware": "cpu", "device_name": "x", "protocol": "smoke", "model": "a", "data": "d",
            "precision": "fp32", "batch_size": 1, "compression": "none", "backend": "eager", **given}  # fmt: skip


def test_the_nearest_finished_cells_are_those_with_most_axes_in_common():
    """By hand: batch size 2 and 8 of model a took 10 s and 40 s, model b 1000 s."""
    finished = [(axes(batch_size=2), 10.0), (axes(batch_size=8), 40.0), (axes(model="b"), 1000.0)]
    predictor = Predictor(finished)
    assert predictor.predict(axes(batch_size=2)).value == pytest.approx(10.0)
    assert predictor.predict(axes(batch_size=4)).value == pytest.approx(20.0)  # geometric mean
    assert predictor.predict(axes(model="c")).value == pytest.approx((10 * 40 * 1000) ** (1 / 3))


def test_a_training_takes_as_long_as_its_sequences():
    """By hand: 1,000 sequences took 10 s and 4,000 took 40 s, so that 16,000 take 160 s."""
    finished = [(axes(batch_size=size, work=1000.0 * size), 10.0 * size) for size in (1, 4)]
    assert Predictor(finished).predict(axes(batch_size=2, work=16000.0)).value == pytest.approx(160.0)


def test_all_but_the_training_is_as_long_as_it_was():
    """By hand: of 70 s, 10 s were the training of 100 sequences; another of 1,000 takes 60 + 100 s."""
    predictor = CellPredictor([(axes(task="train", work=100.0), 70.0, 10.0), (axes(), 5.0, None)])
    assert predictor.predict(axes(task="train", work=1000.0)).value == pytest.approx(160.0)
    assert predictor.predict(axes()).value == pytest.approx(5.0)
    assert predictor.predict(axes(task="generate")) is None


@pytest.mark.parametrize(
    ("overrides", "work"),
    [
        (["task=score", "batch_size=8"], 1.0),
        (["task=train", "model=gpt-nano", "batch_size=8", "task.steps=100", "task.context=64"], 100 * 8),
        (["task=train", "model=gpt-nano", "batch_size=8", "task.steps=100", "task.stop.tokens=9999999"], 100 * 8),
        (
            [
                "task=train",
                "model=gpt-nano",
                "batch_size=8",
                "task.steps=100",
                "task.context=64",
                "task.stop.tokens=5120",
            ],
            80,
        ),
    ],
)
def test_the_work_of_a_cell(overrides, work):
    assert planned_axes(compose_cell(overrides).config)["work"] == work


@pytest.mark.parametrize("other", [{"task": "train"}, {"device_name": "y"}, {"protocol": "standard"}])
def test_another_task_machine_or_protocol_says_nothing(other):
    assert Predictor([(axes(), 10.0)]).predict(axes(**other)) is None
    assert Predictor([]).predict(axes()) is None


def test_from_few_cells_the_interval_is_wide():
    found = Predictor([(axes(), 10.0)]).predict(axes())
    factor = math.exp(1.96 * UNKNOWN_SIGMA)
    assert factor == pytest.approx(3.0)
    assert (found.low, found.high) == (pytest.approx(10 / factor), pytest.approx(10 * factor))


def test_the_interval_is_learnt_and_holds_new_cells():
    """Durations double with the batch size and scatter by 20 %; a left-out cell is inside in about 95 % of 400 cases."""
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        cells = [(axes(batch_size=2**n, seed=s), 5 * 2**n * math.exp(generator.normal(0, 0.2)))
                 for n in range(5) for s in range(4)]  # fmt: skip
        at = int(generator.integers(len(cells)))
        told, took = cells.pop(at)
        found = Predictor(cells).predict(told)
        inside += found.low <= took <= found.high
    assert 0.91 <= inside / 400 <= 0.99


def test_older_records_lack_axes_that_came_later():
    old = {name: value for name, value in axes().items() if name not in ("compression", "backend")}
    assert Predictor([(old, 10.0), (axes(batch_size=3), 99.0)]).predict(axes()).value == pytest.approx(10.0)
