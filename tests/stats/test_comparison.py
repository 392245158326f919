"""Comparisons, by hand and beside scipy's own tests."""

import math

import numpy as np
import pytest
from scipy import stats

from harness.stats.comparison import compare_means, holm, paired_p


def test_welchs_test_is_scipys_on_logarithms():
    a, b = [1.0, 1.1, 0.9, 1.05], [2.0, 2.3, 1.9]
    found = compare_means(a, b)
    expected = stats.ttest_ind(np.log(b), np.log(a), equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.ratio.value == pytest.approx(math.exp(np.log(b).mean() - np.log(a).mean()))
    assert found.ratio.low < found.ratio.value < found.ratio.high
    assert found.ratio.low > 1


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([1.0, 0.0], [1.0, 2.0]), ([], [1.0, 2.0])])
def test_what_cannot_be_compared_is_none(a, b):
    assert compare_means(a, b) is None


def test_values_without_scatter():
    assert compare_means([2.0, 2.0], [2.0, 2.0]).p == 1.0
    twice = compare_means([2.0, 2.0], [4.0, 4.0])
    assert (twice.ratio.value, twice.p) == (pytest.approx(2.0), 0.0)


def test_the_interval_of_a_ratio_covers_it():
    """2,000 seeded trials with a true ratio of 1.25: 95 % intervals hold it in 93 to 97 %."""
    generator = np.random.default_rng(20261124)
    covered = 0
    for _ in range(2000):
        a, b = (np.exp(generator.normal(center, 0.1, 5)) for center in (0.0, math.log(1.25)))
        ratio = compare_means(list(a), list(b)).ratio
        covered += ratio.low <= 1.25 <= ratio.high
    assert 0.93 <= covered / 2000 <= 0.97


def test_paired_differences():
    differences = [0.1, 0.2, 0.15, 0.12]
    assert paired_p(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert paired_p([0.1]) is None
    assert paired_p([0.0, 0.0]) == 1.0
    assert paired_p([0.1, 0.1]) == 0.0


def test_holms_correction_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1, never falling: 0.04, 0.06, 0.06, 0.5."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_keeps_the_family_wise_error():
    """10 true null hypotheses, 2,000 seeded families: at least one is rejected in about 5 % of them."""
    generator = np.random.default_rng(0)
    rejected = sum(min(holm(list(generator.uniform(size=10)))) < 0.05 for _ in range(2000))
    assert 0.035 <= rejected / 2000 <= 0.065
