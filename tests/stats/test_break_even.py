"""Break-even points, by the formula of Fieller with pencil and paper."""

import math

import numpy as np
import pytest

from harness.stats.break_even import break_even
from harness.stats.intervals import Interval

COST = Interval(100.0, 80.0, 120.0)


def test_fieller_by_hand():
    """(2^2 - 0.5^2) r^2 - 2 x 100 x 2 r + (100^2 - 20^2) = 0: r = (400 -+ sqrt(16000)) / 7.5."""
    found = break_even(COST, Interval(2.0, 1.5, 2.5), "tokens")
    assert (found.units, found.low, found.high) == pytest.approx((50.0, 36.467851, 70.198816))
    assert found.text == "pays after 50 tokens (95 %: 36.5 to 70.2)"


def test_bounds_that_are_not_symmetric():
    """Low by the half-widths 20 and 0.25: (400 - sqrt(8800)) / 7.875; high by 30 and 0.5: (400 + sqrt(23500)) / 7.5."""
    found = break_even(Interval(100.0, 80.0, 130.0), Interval(2.0, 1.5, 2.25))
    assert (found.low, found.high) == pytest.approx((38.881484, 73.772946))


def test_a_saving_that_may_be_nothing_has_no_upper_end():
    """Half-width 2.5: -2.25 r^2 - 400 r + 9600 = 0 has the positive root (sqrt(246400) - 400) / 4.5."""
    found = break_even(COST, Interval(2.0, -0.5, 4.5), "steps")
    assert (found.units, found.low, found.high) == pytest.approx((50.0, 21.419329, math.inf))
    assert found.text == "pays after 50 steps (95 %: 21.4 or more; it may save nothing)"


def test_the_lower_end_where_the_quadratic_is_none():
    """Half-width 2: -400 r + 9600 = 0."""
    assert break_even(COST, Interval(2.0, 0.0, 4.0)).low == pytest.approx(24.0)


def test_what_saves_nothing_never_pays():
    never = break_even(COST, Interval(-2.0, -3.0, -1.0))
    assert (never.units, never.low, never.high) == (None, math.inf, math.inf)
    assert never.text == "never pays: it saves nothing"
    assert break_even(COST, Interval(0.0, 0.0, 0.0)).units is None


def test_what_is_measured_to_save_nothing_but_may():
    """Half-width 2 around -1: -3 r^2 + 200 r + 9600 = 0 has the positive root (200 + sqrt(155200)) / 6."""
    found = break_even(COST, Interval(-1.0, -3.0, 1.0), "tokens")
    assert (found.units, found.low, found.high) == (None, pytest.approx(98.992385), math.inf)
    assert found.text == "does not pay as measured; within the interval, not before 99 tokens"


def test_a_cost_that_may_be_nothing():
    found = break_even(Interval(10.0, -5.0, 25.0), Interval(2.0, 1.5, 2.5))
    assert (found.units, found.low) == (5.0, 0.0)
    # 3.75 r^2 - 40 r - 125 = 0
    assert found.high == pytest.approx((40 + math.sqrt(1600 + 1875)) / 7.5)
    assert break_even(Interval(-1.0, -5.0, 3.0), Interval(2.0, 2.0, 2.0)).text == "pays after 0 units (95 %: 0 to 1.5)"
    free = break_even(Interval(-10.0, -12.0, -8.0), Interval(2.0, 1.5, 2.5))
    assert (free.units, free.low, free.high, free.text) == (0.0, 0.0, 0.0, "pays at once")


def test_large_numbers_are_readable():
    found = break_even(Interval(1e6, 1e6, 1e6), Interval(0.8, 0.8, 0.8), "tokens")
    assert found.text == "pays after 1,250,000 tokens (95 %: 1,250,000 to 1,250,000)"


def test_the_interval_covers_the_truth():
    generator, covered = np.random.default_rng(0), 0
    for _ in range(2000):
        cost, saved = generator.normal(100, 10), generator.normal(2, 0.3)
        bounds = [Interval(v, v - 1.959964 * e, v + 1.959964 * e) for v, e in ((cost, 10), (saved, 0.3))]
        found = break_even(*bounds)
        covered += found.low <= 50 <= found.high
    assert 0.93 <= covered / 2000 <= 0.97
