import pytest

from harness.config.compose import compose_cell
from harness.data.leaks import HeldOut, without_leaks
from harness.load import implementation

TEXT = "one two three four five six seven eight nine ten eleven twelve"  # five 8-grams


@pytest.mark.parametrize(
    ("other", "leaks"),
    [
        (TEXT, True),
        ("ONE two, three four; five six seven (eight) nine ten eleven twelve!", True),
        (f"Something before. {TEXT} And something after.", True),
        ("one two three four five six seven eight nine ten and so on", True),  # three of five
        ("one two three four five six seven eight nine and so on", False),  # two of five
        ("twelve eleven ten nine eight seven six five four three two one", False),
        ("one two three four", False),
    ],
)
def test_half_of_the_word_8_grams_is_nearly_the_same(other, leaks):
    assert HeldOut([TEXT]).is_in(other) is leaks
    assert without_leaks([other], [TEXT]) == ([] if leaks else [other])


def test_a_short_text_leaks_only_as_a_whole():
    index = HeldOut(["Hello there"])
    assert index.is_in("hello, there!")
    assert not index.is_in("hello there you")


def test_the_standard_library_has_near_duplicates_and_they_are_taken_out_of_training():
    config = compose_cell(["data=python-stdlib"]).config.data
    corpus = implementation(config)(config)
    assert int(corpus.provenance["training_documents_removed_as_leaks"]) > 10
    index = HeldOut([*corpus.splits["test"], *corpus.splits["validation"]])
    assert not any(index.is_in(text) for text in corpus.splits["train"])
