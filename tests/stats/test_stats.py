import numpy as np
import pytest
from scipy import stats

from harness.config.compose import compose_cell
from harness.stats.intervals import (
    SEQUENTIAL_LEVEL,
    bca_interval,
    best_interval,
    mean_interval,
    ratio_interval,
    share_interval,
)
from harness.stats.pareto import front_probability, pareto_front


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


def stopped(generator, spread, protocol):
    """Whether an interval that decided by its own width when to stop holds the truth."""
    values = list(generator.normal(10, spread * 10, size=protocol.min_repeats))
    while True:
        interval = mean_interval(values, SEQUENTIAL_LEVEL)
        if interval.relative_half_width <= protocol.target_half_width or len(values) == protocol.max_repeats:
            return interval.low <= 10 <= interval.high
        values.append(generator.normal(10, spread * 10))


@pytest.mark.parametrize(("name", "spread"), [("smoke", 0.05), ("standard", 0.03), ("publication", 0.03)])
def test_intervals_that_decide_when_to_stop_cover_the_truth(name, spread):
    """At the spreads where stopping early harms most; of 3,000 a true 95 % gives 93.8 % or more in 999 of 1,000 cases.

    At a level of 95 %, these cover in 92.5 to 93.7 %.
    """
    generator = np.random.default_rng(1)
    protocol = compose_cell([f"protocol={name}"]).config.protocol
    assert np.mean([stopped(generator, spread, protocol) for _ in range(3000)]) >= 0.938


VALUES = [3.1, 2.7, 3.3, 2.9, 3.6, 3.0, 4.4, 2.8, 3.2, 5.1]


def test_bca_is_scipys_at_the_expanded_level():
    """t(0.975, 9) = 2.262157; times sqrt(10 / 9) = 2.384523; the normal law has 0.982899 between minus that and that."""
    expected = stats.bootstrap(
        (VALUES,), np.mean, confidence_level=0.982899, n_resamples=2000, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    interval = bca_interval(VALUES, seed=7, resamples=2000)
    assert interval.value == pytest.approx(3.41)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert interval.high - interval.value > interval.value - interval.low  # The values have a tail to the right.
    assert interval == bca_interval(VALUES, seed=7, resamples=2000)


def test_bca_needs_ten_values_and_takes_constant_ones():
    assert bca_interval(VALUES[:9], seed=0) is None
    constant = bca_interval([0.1] * 10, seed=0)
    assert (constant.low, constant.high, constant.relative_half_width) == (constant.value, constant.value, 0.0)
    assert constant.value == pytest.approx(0.1)


def test_the_best_interval_says_its_method():
    assert best_interval(VALUES, seed=3) == (bca_interval(VALUES, seed=3), "BCa bootstrap")
    assert best_interval(VALUES[:9], seed=3) == (mean_interval(VALUES[:9]), "Student's t")
    assert best_interval([1.0], seed=3) is None


@pytest.mark.parametrize(
    ("n", "draw", "mean"),
    [
        (10, lambda generator, n: generator.normal(10, 2, n), 10.0),
        (20, lambda generator, n: generator.lognormal(0, 0.25, n), np.exp(0.25**2 / 2)),
    ],
)
def test_the_bca_interval_covers_the_truth(n, draw, mean):
    generator, covered = np.random.default_rng(0), 0
    for trial in range(2000):
        interval = bca_interval(list(draw(generator, n)), seed=trial, resamples=999)
        covered += interval.low <= mean <= interval.high
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


def test_two_points_analytically():
    """A beats B if it is lower in both: 1 - P(x_A < x_B) P(y_A < y_B), each a normal law's of the difference.

    Differences of x: -0.2 with error 0.5 (hypotenuse of 0.3 and 0.4), so P(x_B < x_A) = Phi(-0.4) = 0.344578; of y: 0.5
    with error 0.5, so P(y_B < y_A) = Phi(1) = 0.841345. A is on the front in 1 - 0.344578 x 0.841345, B in
    1 - 0.655422 x 0.158655.
    """
    points = [((1.0, 0.3), (2.0, 0.4)), ((1.2, 0.4), (1.5, 0.3))]
    found = front_probability(points, seed=0, draws=40_000)
    assert found == pytest.approx([0.710090, 0.896014], abs=0.009)  # Four standard errors.
    assert front_probability(points, seed=1) == front_probability(points, seed=1)
    assert front_probability([], seed=0) == []


def test_without_errors_the_front_is_the_front():
    """Whole numbers up to 6, so that there are equal coordinates and equal points."""
    generator = np.random.default_rng(0)
    for _ in range(50):
        points = [tuple(map(int, pair)) for pair in generator.integers(1, 7, size=(12, 2))]
        found = front_probability([((x, 0.0), (y, 0.0)) for x, y in points], seed=0, draws=2)
        assert [number for number, share in enumerate(found) if share] == sorted(pareto_front(points))
        assert set(found) <= {0.0, 1.0}


def test_each_draw_has_the_front_of_its_own_points():
    generator = np.random.default_rng(1)
    means, errors = generator.uniform(1, 2, size=(2, 30)), generator.uniform(0.05, 0.3, size=(2, 30))
    points = [((x, a), (y, b)) for x, y, a, b in zip(*means, *errors, strict=True)]
    drawn = np.random.default_rng(5).normal(means.T, errors.T, size=(200, 30, 2))
    counts = np.zeros(30)
    for coordinates in drawn:
        counts[pareto_front([tuple(pair) for pair in coordinates])] += 1
    assert front_probability(points, seed=5, draws=200) == pytest.approx(list(counts / 200))


def test_a_point_without_an_error_has_no_place():
    with pytest.raises(ValueError, match="leave it out"):
        front_probability([((1.0, 0.1), (1.0, float("nan")))], seed=0)


def test_a_share_of_none_or_all_has_the_exact_interval():
    """Of 10 problems none passed: 1 - 0.025 ** 0.1 = 0.3085 (Clopper and Pearson)."""
    none = share_interval([0.0] * 10, seed=0)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(stats.binomtest(0, 10).proportion_ci(0.95).high)
    every = share_interval([1.0] * 10, seed=0)
    assert every.low == pytest.approx(stats.binomtest(10, 10).proportion_ci(0.95).low)
    assert share_interval([0.0, 1.0] * 5, seed=0) == ratio_interval([0.0, 1.0] * 5, [1.0] * 10, seed=0)
    assert share_interval([0.0], seed=0) is None
