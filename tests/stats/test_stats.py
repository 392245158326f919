import numpy as np
import pytest
from scipy import stats

from harness.stats.intervals import mean_interval, ratio_interval
from harness.stats.pareto import pareto_front


def test_the_t_interval_by_hand():
    # 1, 2, 3: mean 2, s = 1, t(0.975, 2) = 4.302653, half-width 4.302653 / sqrt(3) = 2.484138
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.value == 2.0
    assert interval.high - 2.0 == pytest.approx(2.484138, abs=1e-6)
    assert interval.relative_half_width == pytest.approx(1.242069, abs=1e-6)


def test_the_t_interval_is_scipys():
    values = [3.1, 2.7, 3.3, 2.9, 3.6, 3.0]
    low, high = stats.t.interval(0.95, 5, loc=np.mean(values), scale=stats.sem(values))
    interval = mean_interval(values)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_one_value_has_no_interval():
    assert mean_interval([1.0]) is None
    assert ratio_interval([1.0], [2.0], seed=0) is None


def test_the_t_interval_covers_the_truth():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        interval = mean_interval(list(generator.normal(10, 2, size=5)))
        covered += interval.low <= 10 <= interval.high
    assert 0.93 <= covered / 2000 <= 0.97


def test_the_bootstrap_of_a_ratio():
    generator = np.random.default_rng(0)
    counts = generator.integers(10, 20, size=200).astype(float)
    nats = counts * 3 + generator.normal(0, 2, size=200)
    interval = ratio_interval(list(nats), list(counts), seed=1)
    assert interval.value == pytest.approx(nats.sum() / counts.sum())
    residual = nats - interval.value * counts
    expected = 1.96 * residual.std(ddof=1) * np.sqrt(200) / counts.sum()  # the linearised (delta) interval
    assert (interval.high - interval.low) / 2 == pytest.approx(expected, rel=0.1)
    assert interval == ratio_interval(list(nats), list(counts), seed=1)


def test_pairs_without_a_denominator_carry_nothing():
    with_empty = ratio_interval([1.0, 2.0, 3.0, 5.0], [1.0, 1.0, 2.0, 0.0], seed=0)
    assert with_empty.value == pytest.approx(6 / 4)


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1, 5), (2, 3), (3, 4), (4, 1)], [0, 1, 3]),
        ([(1, 1), (1, 1), (2, 2)], [0, 1]),
        ([(1, 2), (1, 1)], [1]),
        ([(2, 1), (1, 1)], [1]),
        ([], []),
    ],
)
def test_pareto_fronts_by_hand(points, front):
    assert pareto_front(points) == front
