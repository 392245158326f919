import pytest

from harness.config.compose import compose_cell
from harness.data.corpus import text_corpus
from harness.data.leaks import words
from harness.data.parallel import ParallelCorpus, make_corpus, parallel_corpus
from harness.errors import UserError
from harness.load import implementation


def load(*overrides):
    config = compose_cell(list(overrides)).config.data
    return implementation(config)(config)


@pytest.fixture(scope="module")
def english_german():
    return load("data=bible-en-de")


def test_verses_are_aligned_and_john_is_the_test(english_german):
    test = dict(english_german.splits["test"])
    assert len(english_german.splits["test"]) == 879  # verses of John
    assert len(english_german.splits["validation"]) == 1007  # verses of Acts
    assert test["Jesus wept."] == "Jesus vergoß Tränen."
    assert english_german.provenance["license"] == "public domain"


def test_no_test_verse_is_trained_on_in_either_language(english_german):
    for side in (0, 1):
        held = {" ".join(words(pair[side])) for name in ("validation", "test") for pair in english_german.splits[name]}
        assert not held & {" ".join(words(pair[side])) for pair in english_german.splits["train"]}
    assert int(english_german.provenance["training_pairs_removed_as_leaks"]) > 0


def test_one_edition_is_a_text_of_chapters():
    corpus = load("data=bible", "data.edition=kjv")
    assert len(corpus.splits["test"]) == 21  # chapters of John
    assert corpus.splits["test"][0].startswith("In the beginning was the Word")
    assert any("In the beginning God created the heaven and the earth." in text for text in corpus.splits["train"])


def test_pairs_are_cleaned_and_a_pair_that_leaks_leaves_training():
    pairs = {
        "train": [("A  b", "x"), ("A b", "x"), ("", "y"), ("the same here", "z"), ("other", "le meme ici")],
        "validation": [("The same, here!", "q")],
        "test": [("what", "Le meme ici.")],
    }
    corpus = make_corpus(pairs, {})
    assert corpus.splits["train"] == (("A b", "x"),)
    assert corpus.provenance["training_pairs_removed_as_leaks"] == "2"
    assert corpus.texts("train") == ["A b", "x"]


def test_two_files_line_by_line(tmp_path):
    lines = [f"number {n} of the many lines that this file of words has got {n}" for n in range(100)]
    (tmp_path / "a.en").write_text("\n".join(lines))
    (tmp_path / "a.de").write_text("\n".join(line.upper() for line in lines))
    given = [f"data.source={tmp_path}/a.en", f"data.target={tmp_path}/a.de", "data.split.test=0.2"]
    corpus = load("data=pair-files", *given)
    pairs = [pair for name in corpus.splits for pair in corpus.splits[name]]
    assert all(target == source.upper() for source, target in pairs)
    assert 10 < len(corpus.splits["test"]) < 30


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("a\nb\n", "x\n", "has 2 lines and data.target"),
        ("a\n", "  \n", "the file holds no text"),
        ("a\n", None, "no such file"),
        ("a\n", b"x\0y", "the file is binary"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, source, target, message):
    (tmp_path / "a").write_text(source)
    if target is not None:
        (tmp_path / "b").write_bytes(target if isinstance(target, bytes) else target.encode())
    with pytest.raises(UserError, match=message):
        load("data=pair-files", f"data.source={tmp_path}/a", f"data.target={tmp_path}/b")


def test_text_and_pairs_are_not_taken_for_each_other(english_german):
    with pytest.raises(UserError, match="holds pairs of sentences"):
        text_corpus(english_german)
    with pytest.raises(UserError, match="without translations"):
        parallel_corpus(load("data=python-stdlib"))


def test_the_hash_depends_on_every_sentence():
    one = ParallelCorpus({"train": (("a", "b"),), "validation": (), "test": ()}, {})
    other = ParallelCorpus({"train": (("a", "c"),), "validation": (), "test": ()}, {})
    assert one.content_hash != other.content_hash


class Rows(dict):
    """Stands for what the library datasets returns."""


def test_a_translation_data_set_of_the_hub(monkeypatch):
    rows = [{"translation": {"en": f"yes {n}", "de": f"ja {n}"}} for n in range(3)]
    loaded = Rows(train=rows[:1], validation=rows[1:2], test=rows[2:])
    monkeypatch.setattr("harness.data.hub.load_dataset_by_id", lambda *_: (loaded, "abc"))
    corpus = load("data=wmt14-en-de")
    assert corpus.splits["train"] == (("yes 0", "ja 0"),)
    assert corpus.provenance["revision"] == "abc"
    with pytest.raises(UserError, match=r"data.target=fr: wmt/wmt14 has no such language\n  allowed: de, en"):
        load("data=wmt14-en-de", "data.target=fr")
