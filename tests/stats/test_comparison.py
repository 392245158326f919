"""Comparisons, by hand and beside scipy's own tests."""

import math

import numpy as np
import pytest
from scipy import stats

from harness.stats.comparison import (
    compare_means,
    holm,
    non_inferiority,
    not_distinguishable_from_best,
    paired_difference,
    paired_p,
    ratio_p,
)


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


# Reference values are those of statsmodels 0.15.0; the calls stand beside them.
FIRST, SECOND = [10.2, 11.1, 9.8, 10.7, 10.0, 10.4], [10.6, 11.2, 10.5, 10.9, 10.1, 11.0]
DIFFERENCES = [b - a for a, b in zip(FIRST, SECOND, strict=True)]


def test_holm_is_statsmodels():
    """multipletests([0.03, 0.01, 0.5, 0.02, 0.012, 0.012, 0.9], method="holm")[1]."""
    expected = [0.09, 0.07, 1.0, 0.08, 0.072, 0.072, 1.0]
    assert holm([0.03, 0.01, 0.5, 0.02, 0.012, 0.012, 0.9]) == pytest.approx(expected)


def test_welchs_test_is_statsmodels():
    """ttest_ind(log(SECOND), log(FIRST), usevar="unequal")."""
    assert compare_means(FIRST, SECOND).p == pytest.approx(0.1951056266364048)


def test_the_paired_difference_is_statsmodels_and_scipys():
    """d = DescrStatsW(SECOND - FIRST): d.mean, d.tconfint_mean(0.05), d.ttest_mean(0)."""
    found = paired_difference(FIRST, SECOND)
    interval = found.difference
    assert (interval.value, interval.low, interval.high, found.p) == pytest.approx(
        (0.35, 0.0783603197744836, 0.6216396802255162, 0.021190931954786874)
    )
    live = stats.ttest_rel(SECOND, FIRST)
    assert found.p == pytest.approx(live.pvalue)
    assert (interval.low, interval.high) == pytest.approx(tuple(live.confidence_interval(0.95)))


def test_what_has_no_pairs_has_no_paired_difference():
    assert paired_difference([1.0], [2.0]) is None
    with pytest.raises(ValueError, match="shorter"):
        paired_difference([1.0, 2.0, 3.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("differences", "margin", "better", "p", "holds"),
    [
        (DIFFERENCES, 0.7, "lower", 0.010595465977393428, True),  # d.ttest_mean(0.7, alternative="smaller")
        (DIFFERENCES, 0.5, "lower", 0.10749228202229964, False),  # d.ttest_mean(0.5, alternative="smaller")
        (DIFFERENCES, 0.1, "higher", 0.00401339897131199, True),  # d.ttest_mean(-0.1, alternative="larger")
        ([-d for d in DIFFERENCES], 0.7, "higher", 0.010595465977393428, True),
        ([-d for d in DIFFERENCES], 0.5, "higher", 0.10749228202229964, False),
        ([0.1, 0.1], 0.2, "lower", 0.0, True),
        ([0.1, 0.1, 0.1], 0.1, "lower", 1.0, False),
    ],
)
def test_non_inferiority_is_statsmodels(differences, margin, better, p, holds):
    found = non_inferiority(differences, margin, better)
    assert (found.p, found.holds, found.margin) == (pytest.approx(p), holds, margin)


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_non_inferiority_holds_where_the_interval_is_on_the_good_side(better):
    generator, sign = np.random.default_rng(0), {"lower": 1, "higher": -1}[better]
    verdicts = []
    for _ in range(300):
        found = non_inferiority(list(sign * generator.normal(0.5, 1.0, 8)), 1.5, better)
        worst = found.difference.high if better == "lower" else -found.difference.low
        assert found.holds == (worst < 1.5)
        verdicts.append(found.holds)
    assert 30 < sum(verdicts) < 270  # Both cases were there.


def test_non_inferiority_is_claimed_wrongly_in_a_fortieth():
    """A loss of just the margin, 2,000 seeded trials: held to 2.5 %."""
    generator = np.random.default_rng(0)
    claimed = sum(non_inferiority(list(generator.normal(0.3, 1, 6)), 0.3, "lower").holds for _ in range(2000))
    assert 0.015 <= claimed / 2000 <= 0.035


def test_a_margin_is_positive():
    assert non_inferiority([0.1], 1.0, "lower") is None
    for margin in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="not positive"):
            non_inferiority([0.1, 0.2], margin, "lower")


@pytest.mark.parametrize(
    ("values", "half_widths", "better", "marked"),
    [
        # log 1.04 = 0.0392 against hypot(0.03, 0.03) = 0.0424, and log 1.05 = 0.0488: one comparison each.
        ([100, 104], [0.03, 0.03], "lower", [True, True]),
        ([100, 105], [0.03, 0.03], "lower", [True, False]),
        ([105, 100], [0.03, 0.03], "higher", [True, False]),
        # log 1.05 has p 0.0242: told apart beside one more (Holm: 0.0484), not beside two more (0.0727).
        ([100, 105, 105], [0.03, 0.03, 0.03], "lower", [True, False, False]),
        ([100, 105, 105, 102.2], [0.03, 0.03, 0.03, 0.03], "lower", [True, True, True, True]),
        # Without an interval there is no mark; where the best has none, nowhere.
        ([100, 101, 150], [0.03, None, 0.03], "lower", [True, False, False]),
        ([100, 101, 102], [None, 0.03, 0.03], "lower", [False, False, False]),
        ([100, math.nan, 101], [0.03, 0.03, math.nan], "lower", [True, False, False]),
        ([0.0, 20.0, 20.5], [0.1, 0.1, 0.1], "higher", [False, True, True]),
        ([-0.1, 1.0], [0.1, 0.1], "lower", [False, False]),
        # No error at all: equal or not.
        ([5, 5, 5.001], [0.0, 0.0, 0.0], "lower", [True, True, False]),
        ([5.0], [0.1], "lower", [True]),
        ([math.nan], [None], "lower", [False]),
        ([], [], "higher", []),
    ],
)
def test_what_cannot_be_told_from_the_best(values, half_widths, better, marked):
    assert not_distinguishable_from_best(values, half_widths, better) == marked


@pytest.mark.parametrize("errors", [[0.02] * 10, [0.001] + [0.03] * 9, [0.03] + [0.001] * 9])
def test_the_true_best_is_marked(errors):
    """The first of ten is as good as all others, the hardest case; 1,000 seeded tables."""
    generator, marked = np.random.default_rng(0), 0
    for _ in range(1000):
        values = 100 * np.exp(generator.normal(0, errors))
        marked += not_distinguishable_from_best(list(values), [1.96 * error for error in errors], "lower")[0]
    assert marked / 1000 >= 0.95


def test_a_ratio_is_tested_by_its_linearisation():
    """By hand: differences 1, 2, 6 over lengths 1, 2, 3: ratio 1.5, residuals -0.5, -1, 1.5, variance 3.5 * 3 / 2."""
    t = 9 / math.sqrt(3.5 * 3 / 2)
    assert ratio_p([1, 2, 6], [1, 2, 3]) == pytest.approx(2 * stats.t.sf(t, 2))
    assert ratio_p([0.5, 5.0], [1, 10]) == 0.0  # the same loss a token in documents of unlike length
    assert ratio_p([0.0, 0.0], [1, 10]) == 1.0
    assert ratio_p([1.0], [1]) is None
