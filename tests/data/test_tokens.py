from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from harness.config.model import (
    ByteTokenizerConfig,
    GPT2TokenizerConfig,
    SavedTokenizerConfig,
    TrainedBPEConfig,
    TrainedSentencePieceConfig,
)
from harness.data.corpus import Corpus
from harness.data.tokenizers import (
    TextTokenizer,
    byte_tokenizer,
    gpt2_tokenizer,
    saved_tokenizer,
    trained_bpe,
    trained_sentencepiece,
)
from harness.data.tokens import IGNORED, join_documents, scoring_windows, token_file, training_offsets
from harness.errors import UserError

EMPTY = Corpus({"train": (), "validation": (), "test": ()}, {})
BYTES = byte_tokenizer(ByteTokenizerConfig(kind="byte"), EMPTY, Path())


def test_bytes_are_tokens_and_documents_are_separated():
    ids, scored = join_documents(["ab", "c"], BYTES)
    assert ids.tolist() == [256, 97, 98, 256, 99]
    assert scored.tolist() == [False, True, True, False, True]


def test_windows_by_hand():
    # Stream: 256 a b c 256 d e. Predicted: a b c [256] d e; windows of 4 start at 0 and 4.
    windows = scoring_windows(["abc", "de"], BYTES, context=4, stride=4)
    assert windows.inputs.tolist() == [[256, 97, 98, 99], [256, 100, 256, 256]]
    assert windows.targets.tolist() == [[97, 98, 99, IGNORED], [100, 101, IGNORED, IGNORED]]
    assert (windows.scored_tokens, windows.text_bytes, windows.text_words) == (5, 5, 2)


@pytest.mark.parametrize("context", [1, 2, 3, 5, 8, 64])
@pytest.mark.parametrize("stride", [1, 2, 5, 64])
def test_each_token_is_scored_exactly_once_with_its_true_past(context, stride):
    if stride > context:
        pytest.skip("a stride longer than the context leaves gaps, and is refused")
    texts = ["hello there", "x", "one two three"]
    stream, scored = join_documents(texts, BYTES)
    windows = scoring_windows(texts, BYTES, context, stride)
    assert windows.scored_tokens == scored.sum()
    kept = windows.targets != IGNORED
    assert windows.targets[kept].tolist() == stream[scored].tolist()
    for inputs, targets in zip(windows.inputs, windows.targets, strict=True):
        for position in np.flatnonzero(targets != IGNORED)[:-1]:
            if targets[position + 1] != IGNORED:
                assert inputs[position + 1] == targets[position]


def test_overlapping_windows_give_later_tokens_more_past():
    windows = scoring_windows(["abcdef"], BYTES, context=4, stride=2)
    assert windows.inputs.tolist() == [[256, 97, 98, 99], [98, 99, 100, 101]]
    assert windows.targets.tolist() == [[97, 98, 99, 100], [IGNORED, IGNORED, 101, 102]]


def test_a_token_file_is_made_once_and_holds_the_stream(tmp_path):
    corpus = Corpus({"train": ("ab", "c"), "validation": (), "test": ()}, {})
    first = token_file(corpus, "train", BYTES, tmp_path)
    assert first.tolist() == [256, 97, 98, 256, 99]
    assert first.dtype == np.uint16
    [path] = (tmp_path / "tokens").iterdir()
    made = path.stat().st_mtime_ns
    assert token_file(corpus, "train", BYTES, tmp_path).tolist() == first.tolist()
    assert [p.stat().st_mtime_ns for p in (tmp_path / "tokens").iterdir()] == [made]
    other = Corpus({"train": ("ab", "d"), "validation": (), "test": ()}, {})
    assert token_file(other, "train", BYTES, tmp_path).tolist() == [256, 97, 98, 256, 100]


def test_training_blocks_stay_inside_the_stream():
    stream = np.arange(50)
    offsets = training_offsets(stream, context=8, samples=2000, generator=np.random.default_rng(1))
    assert offsets.min() == 0
    assert offsets.max() == 50 - 8 - 1
    with pytest.raises(UserError, match="has 9 tokens, fewer than one block of 8"):
        training_offsets(stream[:9], context=8, samples=1, generator=np.random.default_rng(0))


def test_gpt2_ids_are_those_of_gpt2():
    tokenizer = gpt2_tokenizer(GPT2TokenizerConfig(kind="gpt2"), EMPTY, Path())
    assert (tokenizer.vocab_size, tokenizer.separator_id) == (50257, 50256)
    assert tokenizer.encode(["Hello world", " Paris"]) == [[15496, 995], [6342]]


def test_a_bpe_learns_from_the_training_split_alone(tmp_path):
    config = TrainedBPEConfig(kind="bpe", vocab_size=270, training_bytes=10_000)
    trains = "abababab " * 50
    one = Corpus({"train": (trains,), "validation": ("zzzz",), "test": ("zzzzzzzz",)}, {})
    two = Corpus({"train": (trains,), "validation": (), "test": ()}, {})
    first: TextTokenizer = trained_bpe(config, one, tmp_path)
    second: TextTokenizer = trained_bpe(config, two, tmp_path)
    assert first.identity == second.identity
    assert len(first.encode(["abababab"])[0]) < 4
    assert len(first.encode(["zzzz"])[0]) == 4
    assert len(list((tmp_path / "tokenizers").iterdir())) == 1


PIECES = TrainedSentencePieceConfig(kind="sentencepiece", model_type="unigram", vocab_size=300, training_bytes=10_000)


def test_sentencepiece_learns_from_the_training_split_alone_and_its_file_gives_it_again(tmp_path, text_file):
    trains = text_file.read_text()
    one = Corpus({"train": (trains,), "validation": ("zzzz",), "test": ()}, {})
    two = Corpus({"train": (trains,), "validation": (), "test": ("qqqq",)}, {})
    first, second = trained_sentencepiece(PIECES, one, tmp_path), trained_sentencepiece(PIECES, two, tmp_path)
    assert first.identity == second.identity
    text = "The cat saw thë owl."  # a character that was never seen falls back to its bytes
    assert first.decode(first.encode([text])) == [text]
    assert len(first.encode([trains])[0]) < 0.8 * len(trains.encode())
    name, content = first.file
    (tmp_path / name).write_bytes(content)
    saved = saved_tokenizer(SavedTokenizerConfig(kind="saved", path=str(tmp_path / name)), EMPTY, tmp_path)
    assert saved.encode([text]) == first.encode([text])
    assert saved.separator_id == first.separator_id


def test_a_vocabulary_too_large_for_its_text_is_named(tmp_path):
    with pytest.raises(UserError, match="vocab_size=300: SentencePiece cannot learn it here"):
        trained_sentencepiece(PIECES, Corpus({"train": ("ab",), "validation": (), "test": ()}, {}), tmp_path)


def test_a_saved_bpe_gives_the_same_ids(tmp_path):
    config = TrainedBPEConfig(kind="bpe", vocab_size=270, training_bytes=10_000)
    learnt = trained_bpe(config, Corpus({"train": ("abababab " * 50,), "validation": (), "test": ()}, {}), tmp_path)
    name, content = learnt.file
    (tmp_path / name).write_bytes(content)
    saved = saved_tokenizer(SavedTokenizerConfig(kind="saved", path=str(tmp_path / name)), EMPTY, tmp_path)
    assert saved.encode(["ababab ab"]) == learnt.encode(["ababab ab"])
    assert saved.identity == learnt.identity


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), ("{}", "not a tokenizer.json"), ("whole", "it has no token")]
)
def test_a_file_that_is_no_tokenizer_is_named(tmp_path, content, message):
    path = tmp_path / "tokenizer.json"
    if content == "whole":
        Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(path))
    elif content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        saved_tokenizer(SavedTokenizerConfig(kind="saved", path=str(path)), EMPTY, tmp_path)


def test_bytes_come_back():
    assert BYTES.decode(BYTES.encode(["naïve, 日本"])) == ["naïve, 日本"]


def test_separate_documents_see_nothing_of_each_other():
    """By hand: 'abc' and 'defgh' in windows of 4, each after its own separator (256)."""
    from harness.data.tokens import separate_windows

    windows = separate_windows(["abc", "", "defgh"], BYTES, context=4, stride=4)
    a, d = ord("a"), ord("d")
    assert windows.inputs.tolist() == [[256, a, a + 1, 256], [256, d, d + 1, d + 2], [d + 3, 256, 256, 256]]
    assert windows.targets.tolist() == [
        [a, a + 1, a + 2, IGNORED], [d, d + 1, d + 2, d + 3], [d + 4, IGNORED, IGNORED, IGNORED],
    ]  # fmt: skip
    assert windows.documents[[0, 1, 2], 0].tolist() == [0, 2, 2]
    assert windows.lengths.tolist() == [3, 4, 1]
    assert (windows.text_bytes, windows.text_words) == (8, 3)  # re.split finds an empty word in an empty text


def test_each_target_knows_its_document_where_documents_share_windows():
    windows = scoring_windows(["ab", "cde"], BYTES, context=4, stride=4)
    scored = windows.targets != IGNORED
    assert windows.targets[scored].tolist() == [ord(letter) for letter in "abcde"]
    assert windows.documents[scored].tolist() == [0, 0, 1, 1, 1]
    assert windows.sizes.tolist() == [[2, 1], [3, 1]]
