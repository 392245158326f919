import pytest

from harness.config.compose import compose_cell
from harness.data import corpora
from harness.errors import UserError
from harness.load import implementation


@pytest.fixture(scope="module")
def chitchat():
    config = compose_cell(["data=chitchat"]).config.data
    return implementation(config)(config)


def test_chitchat_is_real_english_dialogue_in_three_splits(chitchat):
    assert chitchat.provenance["license"] == "MIT"
    assert sum(len(text) for texts in chitchat.splits.values() for text in texts) > 10_000_000
    assert all(len(texts) > 100 for texts in chitchat.splits.values())
    assert all("\n" in text for text in chitchat.splits["test"])


def test_no_document_of_a_test_split_is_trained_on(chitchat):
    letters = {split: {" ".join(t.casefold().split()) for t in texts} for split, texts in chitchat.splits.items()}
    assert not letters["test"] & letters["train"]
    assert not letters["validation"] & (letters["train"] | letters["test"])


def test_the_standard_library_is_a_corpus_of_code():
    config = compose_cell(["data=python-stdlib"]).config.data
    corpus = implementation(config)(config)
    everything = [text for texts in corpus.splits.values() for text in texts]
    assert len(everything) > 200
    assert any("def namedtuple(" in text for text in everything)


def test_a_missing_package_comes_with_its_command():
    with pytest.raises(UserError, match="pip install --no-deps some-package==1.0"):
        corpora.package_file("no_such_package_here", "file.json", "some-package==1.0")
