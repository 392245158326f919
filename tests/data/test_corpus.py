import pytest

from harness.config.data import CleaningConfig, SplitConfig
from harness.data.corpus import Corpus, clean, make_corpus, require_documents, split_documents, take_bytes
from harness.errors import UserError

SPLIT = SplitConfig(validation=0.1, test=0.2, seed=0)


def test_cleaning_normalises_and_drops_duplicates():
    decomposed = "cafe\u0301"
    assert clean(["  a \r\n b ", "", "a \n b", decomposed, "caf\u00e9"]) == ["a \n b", "caf\u00e9"]


def test_splits_have_their_shares_and_keep_every_document():
    documents = [f"document {i}" for i in range(5000)]
    splits = split_documents(documents, SPLIT)
    assert sorted(sum((list(texts) for texts in splits.values()), [])) == sorted(documents)
    assert abs(len(splits["test"]) / 5000 - 0.2) < 0.02
    assert abs(len(splits["validation"]) / 5000 - 0.1) < 0.02


def test_documents_that_differ_in_case_and_space_stay_together():
    for i in range(200):
        twins = [f"Document {i}", f"document  {i} ", f"DOCUMENT\n{i}"]
        splits = split_documents(twins, SPLIT)
        assert sorted(len(texts) for texts in splits.values()) == [0, 0, 3]


def test_the_split_does_not_depend_on_order_and_changes_with_its_seed():
    documents = [f"document {i}" for i in range(300)]
    forward, backward = split_documents(documents, SPLIT), split_documents(documents[::-1], SPLIT)
    assert set(forward["test"]) == set(backward["test"])
    other = split_documents(documents, SplitConfig(validation=0.1, test=0.2, seed=1))
    assert set(forward["test"]) != set(other["test"])


def test_whole_documents_are_taken_until_the_bytes_are_reached():
    assert take_bytes(["\u00e9\u00e9", "bb", "cc"], 5) == ["\u00e9\u00e9", "bb"]
    assert take_bytes(["aaaa", "bb"], 1) == ["aaaa"]


def test_an_empty_split_is_named():
    corpus = Corpus({"train": ("a",), "validation": (), "test": ()}, {})
    with pytest.raises(UserError, match="test split has no document"):
        require_documents(corpus, "test")


PLAIN = CleaningConfig(near_duplicates=False, stop_words=None)


def test_what_was_taken_out_stands_in_the_provenance():
    words = "one two three four five six seven eight nine ten"
    documents = {"train": [words, "Something else altogether"], "validation": [], "test": [f"{words} eleven"]}
    corpus = make_corpus(documents, CleaningConfig(near_duplicates=True, stop_words=None), {"source": "here"})
    assert corpus.splits["train"] == ("Something else altogether",)
    assert corpus.provenance == {"source": "here", "training_documents_removed_as_leaks": "1"}
    assert make_corpus(documents, PLAIN, {}).splits["train"] == (words, "Something else altogether")


def test_stop_words_are_off_by_default_and_said_where_they_are_not(tmp_path):
    documents = {"train": ["The cat sat on THE mat.\nAnd the dog, too, was there!"], "validation": [], "test": []}
    assert make_corpus(documents, PLAIN, {}).splits["train"] == tuple(documents["train"])
    corpus = make_corpus(documents, CleaningConfig(near_duplicates=False, stop_words="english"), {})
    assert corpus.splits["train"] == ("cat sat mat.\ndog,",)
    assert "not the perplexity of plain text" in corpus.provenance["stop_words"]
    (tmp_path / "own.txt").write_text("cat\nDog\n")
    own = make_corpus(documents, CleaningConfig(near_duplicates=False, stop_words=str(tmp_path / "own.txt")), {})
    assert own.splits["train"] == ("The sat on THE mat.\nAnd the too, was there!",)
    with pytest.raises(UserError, match="stop_words=klingon: no such list"):
        make_corpus(documents, CleaningConfig(near_duplicates=False, stop_words="klingon"), {})
