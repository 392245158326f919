import pytest

from harness.metrics.translation import translation_quality

# sacreBLEU's README: three translations, and the references of its first reader.
TRANSLATIONS = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
FIRST = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]
SECOND = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."]


def test_bleu_is_that_of_sacrebleus_readme():
    """48.530827 is for both readers; sacreBLEU itself is asked, as our pairs have one reference each."""
    from sacrebleu.metrics import BLEU

    assert BLEU().corpus_score(TRANSLATIONS, [FIRST, SECOND]).score == pytest.approx(48.530827, abs=1e-6)
    quality = translation_quality(TRANSLATIONS, FIRST)
    assert quality["bleu"] == pytest.approx(BLEU().corpus_score(TRANSLATIONS, [FIRST]).score)
    assert "tok:13a" in quality["bleu_signature"]
    assert quality["bleu_ci_low"] < quality["bleu"] < quality["bleu_ci_high"]


def test_a_perfect_translation_has_100():
    quality = translation_quality(FIRST, FIRST)
    assert quality["bleu"] == pytest.approx(100)
    assert quality["chrf"] == pytest.approx(100)


def test_a_single_pair_has_no_interval():
    assert translation_quality(["a b c d"], ["a b c d"])["bleu_ci_low"] is None


def test_translations_of_which_some_resamples_have_nothing_right():
    """sacreBLEU's own bootstrap fails here: it averages Python's 0.0 with NumPy's float32."""
    quality = translation_quality(["x y z", "a b c d e"], ["q", "a b c d e"])
    assert quality["bleu_ci_low"] < quality["bleu"] < quality["bleu_ci_high"]
    nothing = translation_quality(["x y z", "x"], ["q", "a b c d e"])
    assert (nothing["bleu"], nothing["chrf"]) == (0.0, 0.0)
