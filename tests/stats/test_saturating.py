"""Saturating power laws: known parameters, an independent fit, and the coverage of the intervals."""

import numpy as np
import pytest
from scipy import optimize, stats

from harness.stats.saturating import fit_saturating

X = np.geomspace(1, 128, 8)
FLOOR, FACTOR, EXPONENT = 2.0, 3.0, -0.5


def noisy(seed, error=0.01, x=X, floor=FLOOR, factor=FACTOR, exponent=EXPONENT):
    scatter = np.random.default_rng(seed).normal(0, error, len(x))
    return list(x), list((floor + factor * x**exponent) * (1 + scatter))


@pytest.mark.parametrize(
    ("floor", "factor", "exponent"), [(2.0, 3.0, -0.5), (0.3, 8.0, -1.0), (1.7, 0.02, 0.8), (1.69, 406.4, -0.34)]
)
def test_an_exact_law_is_found(floor, factor, exponent):
    law = fit_saturating(*noisy(0, 0.0, X, floor, factor, exponent))
    found = (law.floor.value, law.factor.value, law.exponent.value)
    assert found == pytest.approx((floor, factor, exponent), rel=1e-6)
    for interval in (law.floor, law.factor, law.exponent):
        assert interval.relative_half_width < 1e-5
    assert law.at(500.0) == pytest.approx(floor + factor * 500.0**exponent)


def test_x_of_any_size():
    """Chinchilla's law of parameters: loss 1.69 + 406.4 N^-0.34, N from 10 M to 10 G, 0.1 % of scatter."""
    law = fit_saturating(*noisy(1, 0.001, np.geomspace(1e7, 1e10, 10), 1.69, 406.4, -0.34))
    for interval, truth in ((law.floor, 1.69), (law.factor, 406.4), (law.exponent, -0.34)):
        assert interval.low <= truth <= interval.high
    assert law.exponent.relative_half_width < 0.05


def squares(x, y, floor, factor, exponent):
    return float((((floor + factor * np.asarray(x) ** exponent) / np.asarray(y) - 1) ** 2).sum())


def test_the_fit_is_that_of_curve_fit():
    x, y = noisy(3, 0.03)
    law = fit_saturating(x, y)
    expected, _ = optimize.curve_fit(
        lambda x, floor, factor, exponent: floor + factor * x**exponent, x, y, p0=(1.5, 4.0, -0.7), sigma=y
    )
    assert (law.floor.value, law.factor.value, law.exponent.value) == pytest.approx(tuple(expected), rel=1e-4)


@pytest.mark.parametrize("which", ["floor", "factor", "exponent"])
@pytest.mark.parametrize("end", ["low", "high"])
def test_an_interval_ends_where_the_others_cannot_make_up_for_it(which, end):
    """One parameter held at an end, the two others fitted anew by a search that knows nothing of linear problems."""
    x, y = noisy(3, 0.03)
    law = fit_saturating(x, y)
    names = ["floor", "factor", "exponent"]
    best = {name: getattr(law, name).value for name in names}
    held = getattr(getattr(law, which), end)
    others = [name for name in names if name != which]
    found = optimize.minimize(
        lambda free: squares(x, y, **{which: held}, **dict(zip(others, free, strict=True))),
        [best[name] for name in others],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 4000},
    )
    limit = squares(x, y, **best) * (1 + stats.f.ppf(0.95, 1, 5) / 5)
    assert found.fun == pytest.approx(limit, rel=2e-3)


def test_the_intervals_cover_the_truth():
    generator, hits = np.random.default_rng(0), np.zeros(3)
    for _ in range(2000):
        y = (FLOOR + FACTOR * X**EXPONENT) * (1 + generator.normal(0, 0.01, len(X)))
        law = fit_saturating(list(X), list(y))
        intervals = zip((law.floor, law.factor, law.exponent), (FLOOR, FACTOR, EXPONENT), strict=True)
        hits += [interval.low <= truth <= interval.high for interval, truth in intervals]
    assert (hits >= 0.93 * 2000).all()
    assert (hits <= 0.97 * 2000).all()


def test_a_plain_power_law_has_a_floor_that_reaches_zero():
    law = fit_saturating(*noisy(3, 0.02, floor=0.0))
    assert law.floor.low == 0.0
    assert law.exponent.low <= -0.5 <= law.exponent.high
    straight_over_logarithms = fit_saturating([1, 2, 4, 8, 16, 32], [10.0, 9.3, 8.6, 7.9, 7.2, 6.5])
    assert (straight_over_logarithms.floor.value, straight_over_logarithms.floor.low) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1, 2, 3, 4, 4, 4], [9, 7, 6, 5, 5, 5]),  # Four places.
        ([0, 1, 2, 3, 4, 5], [9, 7, 6, 5, 5, 4.8]),
        ([1, 2, 3, 4, 5, 6], [9, 7, 6, 5, float("nan"), 4]),
        ([1, 2, 4, 8, 16, 32], [5.0, 5.1, 4.9, 5.05, 4.95, 5.0]),  # A constant.
        ([1, 2, 4, 8, 16, 32], [5.0] * 6),
        ([1, 2, 4, 8, 16, 32], [9.0, 5.0, 5.0, 5.0, 5.0, 5.0]),  # A step.
    ],
)
def test_what_is_no_such_law_is_none(x, y):
    assert fit_saturating(x, y) is None


def test_noise_has_no_exponent():
    """Scatter of 20 % over one octave: whatever is returned, an interval around 0 is not."""
    laws = [fit_saturating(*noisy(seed, 0.2, np.linspace(1, 2, 8))) for seed in range(50)]
    assert sum(law is None for law in laws) > 40
    assert all(law.exponent.low * law.exponent.high > 0 for law in laws if law is not None)
