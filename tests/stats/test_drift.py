"""Drift and instability of repeats."""

import numpy as np
import pytest
from scipy import stats

from harness.stats.drift import drift, unstable


def test_a_drift_by_hand():
    """Slope 1 a repeat, median 102; of the 120 orders of five, two rise or fall throughout."""
    found = drift([100.0, 101.0, 102.0, 103.0, 104.0])
    assert found.relative_slope_per_repeat == pytest.approx(1 / 102)
    assert found.total_relative_change == pytest.approx(4 / 102)
    assert found.p == pytest.approx(2 / 120)
    assert found.has_drift


def test_the_test_is_kendalls_and_the_slope_theils():
    values = [5.0, 5.3, 5.1, 5.6, 5.2, 5.9, 5.7]
    found = drift(values)
    assert found.p == pytest.approx(stats.kendalltau(range(7), values).pvalue)
    pairs = [(values[b] - values[a]) / (b - a) for a in range(7) for b in range(a + 1, 7)]
    assert found.relative_slope_per_repeat == pytest.approx(np.median(pairs) / 5.3)


@pytest.mark.parametrize(
    "values",
    [
        [100.0, 100.2, 100.4, 100.6, 100.8],  # Certain, and too small to matter.
        [100.0, 106.0, 99.0, 107.0, 103.0],  # Large, and no trend.
        [7.0] * 6,
    ],
)
def test_a_drift_is_both_certain_and_large(values):
    assert not drift(values).has_drift


def test_four_repeats_have_no_drift():
    assert drift([1.0, 2.0, 3.0, 4.0]) is None
    assert drift([-1.0, 0.0, 0.0, 0.0, 1.0]) is None


def test_a_spoilt_repeat_is_no_drift():
    assert drift([100.0, 100.1, 99.9, 100.0, 100.1, 180.0]).total_relative_change < 0.02


@pytest.mark.parametrize(
    ("values", "reason", "repeats", "text"),
    [
        ([1.0, 1.3], "scatter", (), "the standard deviation of the repeats is 18% of the mean"),  # 0.212 / 1.15
        ([104.0, 103, 102, 101, 100], "drift", (), "the repeats fall by 3.9% from the first to the last (p 0.017)"),
        ([120.0] + [100, 100.5, 99.5] * 5, "first_repeat", (1,), "of 16 repeats, these are far from the median: 1 (+20.0%)"),
        # Median absolute deviation 0.5, so that 10 x 1.4826 x 0.5 = 7.4 is far.
        ([100.0, 110, 100.5, 99.5, 100, 99.4], "outliers", (2,), "of 6 repeats, these are far from the median: 2 (+10.0%)"),
    ],
)  # fmt: skip
def test_what_is_unstable(values, reason, repeats, text):
    (found,) = unstable(values)
    assert (found.reason, found.repeats, found.text) == (reason, repeats, text)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0],
        [1.0, 1.05],
        [1.0] * 6,
        [100.0, 100.0, 100.0, 100.0, 101.9],  # Far for its neighbours, and 1.9 %.
        [100.0, 107.0, 100.5, 99.5, 100.0, 99.4],  # 7 and not 7.4.
    ],
)
def test_what_is_stable(values):
    assert unstable(values) == []


def test_several_reasons_at_once():
    assert [found.reason for found in unstable([1.0, 1.1, 1.2, 1.3, 1.4, 1.5])] == ["drift", "scatter"]
    assert "larger than the mean" in unstable([-1.0, 1.0])[0].text


@pytest.mark.parametrize("n", [5, 10, 20])
@pytest.mark.parametrize(("error", "share"), [(2.0, 0.07), (0.5, 0.005)])
def test_quiet_repeats_are_seldom_called_unstable(n, error, share):
    """1,000 runs of normal repeats: of a scatter of 2 % about one in twenty, of 0.5 % next to none."""
    generator = np.random.default_rng(n)
    assert sum(bool(unstable(list(generator.normal(100, error, n)))) for _ in range(1000)) <= 1000 * share
