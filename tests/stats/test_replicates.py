"""Means over replicates, against numbers by hand, scipy's interval, and seeded trials."""

import math

import numpy as np
import pytest
from scipy import stats

from harness.stats.replicates import mean_over


def test_the_interval_of_three_seeds_by_hand():
    """Values 1, 2, 3: mean 2, s = 1, t(2) = 4.3027, half-width 4.3027 / sqrt(3) = 2.4841."""
    found = mean_over([1.0, 2.0, 3.0])
    assert (found.value, found.low, found.high) == pytest.approx((2.0, -0.484138, 4.484138))


def test_geometric_and_harmonic_means_by_hand():
    """Logarithms of 1, e, e^2 are 0, 1, 2; reciprocals of 1, 1/2, 1/3 are 1, 2, 3."""
    geometric = mean_over([1.0, math.e, math.e**2], "geometric")
    assert (geometric.value, geometric.low, geometric.high) == pytest.approx(
        (math.e, math.exp(1 - 2.484138), math.exp(1 + 2.484138))
    )
    rates = mean_over([10.0, 12.5, 12.5], "harmonic")  # seconds a token: 0.1, 0.08, 0.08
    assert rates.value == pytest.approx(3 / 0.26)
    assert rates.low < rates.value < rates.high


def test_scipy_agrees():
    values = [3.1, 2.9, 3.3, 3.05, 2.97]
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    found = mean_over(values)
    assert (found.low, found.high) == pytest.approx(expected)


def test_a_rate_whose_reciprocal_may_be_nothing_has_no_interval():
    found = mean_over([1.0, 100.0], "harmonic")
    assert found.value == pytest.approx(2 / 1.01)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("values", [[1.0, math.nan], [math.nan]])
def test_what_one_replicate_lacks_is_missing_in_the_mean(values):
    assert all(math.isnan(value) for value in vars(mean_over(values)).values())


def test_no_logarithm_of_what_is_not_positive():
    assert math.isnan(mean_over([0.0, 1.0], "geometric").value)


def test_one_replicate_has_a_mean_and_no_interval():
    found = mean_over([5.0])
    assert found.value == 5.0
    assert math.isnan(found.low)


@pytest.mark.parametrize("average", ["arithmetic", "geometric", "harmonic"])
def test_the_interval_holds_the_truth_in_95_percent_of_trials(average):
    """2,000 samples of three, normal on the scale of the average around 10."""
    generator = np.random.default_rng(1)
    turn = {"arithmetic": lambda x: x, "geometric": np.exp, "harmonic": lambda x: 1 / x}[average]
    truth = turn(10.0)
    samples = turn(generator.normal(10.0, 0.5, size=(2000, 3)))
    held = [mean_over(list(sample), average) for sample in samples]
    assert 0.93 < np.mean([each.low <= truth <= each.high for each in held]) < 0.97
