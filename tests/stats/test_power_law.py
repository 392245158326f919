import numpy as np
import pytest

from harness.stats.power_law import fit_power_law


def test_an_exact_law_is_found():
    law = fit_power_law([1, 10, 100], [3.0, 3.0 * 10**-0.076, 3.0 * 100**-0.076])
    assert (law.factor, law.exponent) == pytest.approx((3.0, -0.076))
    assert law.exponent_low == pytest.approx(law.exponent_high, abs=1e-6)
    assert law.at(1e4) == pytest.approx(3.0 * 1e4**-0.076)


def test_the_interval_by_hand():
    """Logs to base e of x are 0, 1, 2 and of y 0, 1, 3: slope 1.5, residuals 1/6, -1/3, 1/6, s.e. 0.288675, t 12.7062."""
    law = fit_power_law(list(np.exp([0, 1, 2])), list(np.exp([0, 1, 3])))
    assert law.exponent == pytest.approx(1.5)
    assert law.exponent_high - law.exponent == pytest.approx(12.7062 * 0.288675, rel=1e-4)


def test_the_interval_covers_the_truth():
    generator, hits, x = np.random.default_rng(0), 0, np.array([1.0, 3.0, 9.0, 27.0, 81.0])
    for _ in range(2000):
        law = fit_power_law(list(x), list(2 * x**-0.5 * np.exp(generator.normal(0, 0.1, 5))))
        hits += law.exponent_low <= -0.5 <= law.exponent_high
    assert 0.93 <= hits / 2000 <= 0.97


@pytest.mark.parametrize("x", [[1, 2], [1, 1, 2, 2]])
def test_two_places_are_no_law(x):
    assert fit_power_law(x, [1.0] * len(x)) is None
