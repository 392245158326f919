"""Metrics of answers by hand, and against published values."""

import itertools
import statistics

import pytest

from harness.metrics.answers import distinct, exact_match, f1, normalised, pass_at_k
from harness.metrics.rouge import rouge


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("The  Cat!", "cat"), ("a dog, an owl", "dog owl"), ("U.S.A.", "usa"), ("theatre", "theatre"), ("the", "")],
)
def test_answers_are_normalised_as_squad_does(answer, expected):
    assert normalised(answer) == expected


def test_exact_match_and_f1_by_hand():
    assert exact_match("The cat.", ["a dog", "cat"]) == 1.0
    assert exact_match("cats", ["cat"]) == 0.0
    # 2 shared words; 3 in the answer, 4 in the reference: 2 * 2 / 7.
    assert f1("red small cat", ["the small cat sleeps now"]) == pytest.approx(4 / 7)
    assert f1("red red", ["red"]) == pytest.approx(2 / 3)
    assert f1("cat", ["dog", "the cat"]) == 1.0
    assert f1("the", ["a"]) == 1.0
    assert f1("", ["cat"]) == 0.0


@pytest.mark.parametrize(("samples", "passed", "k"), [(5, 2, 1), (5, 2, 3), (4, 0, 2), (4, 4, 1), (6, 5, 3)])
def test_pass_at_k_is_the_mean_over_all_choices(samples, passed, k):
    outcomes = [1] * passed + [0] * (samples - passed)
    expected = statistics.mean(max(chosen) for chosen in itertools.combinations(outcomes, k))
    assert pass_at_k(samples, passed, k) == pytest.approx(expected)


def test_distinct_by_hand():
    texts = ["a b a b", "a c"]
    assert distinct(texts, 1) == pytest.approx(3 / 6)
    assert distinct(texts, 2) == pytest.approx(3 / 4)  # a b, b a, a b, a c
    assert distinct(["", "a"], 2) is None


def test_rouge_by_hand():
    """Of the reference's six words the summary has three, all of its own: precision 1, recall 1/2, F1 2/3."""
    found = rouge(["the cat sat"], ["the cat sat on the mat"], 0)
    assert found["rouge1"] == pytest.approx(2 / 3)
    assert found["rouge2"] == pytest.approx(2 * (2 / 2) * (2 / 5) / (2 / 2 + 2 / 5))
    assert found["rouge_l"] == pytest.approx(2 / 3)
    assert found["rouge1_ci_low"] is None
    both = rouge(["the cat sat", "x"], ["the cat sat on the mat", "y"], 0)
    assert both["rouge1"] == pytest.approx(1 / 3)
    assert both["rouge1_ci_low"] == 0.0
