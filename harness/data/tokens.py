"""Token streams and the windows that training and scoring take from them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.cache import atomic_path
from harness.data.corpus import Corpus, require_documents
from harness.data.tokenizers import TextTokenizer
from harness.errors import UserError

IGNORED = -100  # Target of a position that is not scored; PyTorch's cross entropy skips it.

Ids = npt.NDArray[np.integer]


def join_documents(
    documents: Sequence[str], tokenizer: TextTokenizer
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """One stream: a separator, then a document's tokens, for each document.

    Returns:
        Token ids (S,), and which of them belong to a document (S,): separators are context and are not scored.
    """
    encoded = tokenizer.encode(documents)
    ids = np.concatenate([np.array([tokenizer.separator_id, *tokens], dtype=np.int64) for tokens in encoded])
    scored = np.concatenate([np.arange(len(tokens) + 1) > 0 for tokens in encoded])
    return ids, scored


def token_file(corpus: Corpus, split: str, tokenizer: TextTokenizer, cache_dir: Path) -> Ids:
    """The split's token stream (S,), memory-mapped from a file that is made once for this text and tokenizer."""
    documents = require_documents(corpus, split)
    key = hashlib.sha256(f"{corpus.content_hash}:{split}:{tokenizer.identity}".encode()).hexdigest()[:16]
    path = cache_dir / "tokens" / f"{key}.npy"
    if not path.exists():
        ids, _ = join_documents(documents, tokenizer)
        dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, ids.astype(dtype))
    loaded: Ids = np.load(path, mmap_mode="r")
    return loaded


@dataclass(frozen=True)
class TokenRows:
    """Token ids of many texts, memory-mapped: row n is `ids[ends[n - 1]:ends[n]]`.

    Attributes:
        ids: All ids, one text after the other (S,).
        ends: Where each text ends (N,).
    """

    ids: Ids
    ends: Ids

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each text (N,)."""
        return np.diff(self.ends, prepend=0).astype(np.int64)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> Ids:
        start = int(self.ends[row - 1]) if row else 0
        found: Ids = self.ids[start : int(self.ends[row])]
        return found


def token_rows(texts: Sequence[str], content: str, tokenizer: TextTokenizer, cache_dir: Path) -> TokenRows:
    """Texts as token ids, from a file that is made once.

    Args:
        texts: What to encode.
        content: Identifies the texts, such as a corpus's content hash with the split's name.
        tokenizer: Encodes them.
        cache_dir: Where the file is kept.
    """
    key = hashlib.sha256(f"rows:{content}:{tokenizer.identity}".encode()).hexdigest()[:16]
    folder = cache_dir / "tokens" / key
    if not folder.exists():
        encoded = tokenizer.encode(texts)
        dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            np.save(temporary / "ids.npy", np.concatenate([np.array(row, dtype=dtype) for row in encoded]))
            np.save(temporary / "ends.npy", np.cumsum([len(row) for row in encoded], dtype=np.int64))
    return TokenRows(np.load(folder / "ids.npy", mmap_mode="r"), np.load(folder / "ends.npy", mmap_mode="r"))


@dataclass(frozen=True)
class ScoringWindows:
    """A held-out text cut into windows for scoring.

    Attributes:
        inputs: Token ids (W, T).
        targets: The next token at each position, IGNORED where it is not scored here (W, T).
        documents: Number of the document that each target is of (W, T).
        sizes: UTF-8 bytes and words of each document (D, 2); words are what white space separates, as for lm-eval.
    """

    inputs: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the text."""
        return int(self.sizes[:, 0].sum())

    @property
    def text_words(self) -> int:
        """Its words."""
        return int(self.sizes[:, 1].sum())

    @property
    def scored_tokens(self) -> int:
        """Tokens that are scored, each once."""
        return int((self.targets != IGNORED).sum())

    def longest_first(self) -> ScoringWindows:
        """The same windows from long to short, so that those of a batch are of one length, or nearly."""
        order = np.argsort(-self.lengths, kind="stable")
        return ScoringWindows(self.inputs[order], self.targets[order], self.documents[order], self.sizes)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each window up to the last that is scored (W,); what comes after fills it up."""
        reversed_mask = (self.targets != IGNORED)[:, ::-1]
        last = reversed_mask.argmax(axis=1)
        return np.where(reversed_mask.any(axis=1), self.targets.shape[1] - last, 0)


def scoring_windows(documents: Sequence[str], tokenizer: TextTokenizer, context: int, stride: int) -> ScoringWindows:
    """Cut the joined documents into windows of `context` tokens that advance by `stride`.

    Each document token is the target of exactly one window: the first that reaches it.

    Raises:
        UserError: If the text has no token.
    """
    ids, scored = join_documents(documents, tokenizer)
    if not scored.any():
        raise UserError("the text to score has no token", remedy="give a longer text or another split")
    starts = _window_starts(len(ids) - 1, context, stride)
    inputs = np.full((len(starts), context), tokenizer.separator_id, dtype=np.int64)
    targets = np.full((len(starts), context), IGNORED, dtype=np.int64)
    numbers = np.zeros((len(starts), context), dtype=np.int64)
    documents_of = np.cumsum(~scored) - 1  # Each begins with a separator, which is not scored.
    reached = 0
    for row, start in enumerate(starts):
        end = min(start + context, len(ids) - 1)
        inputs[row, : end - start] = ids[start:end]
        fresh = np.arange(start, end) >= reached
        targets[row, : end - start] = np.where(scored[start + 1 : end + 1] & fresh, ids[start + 1 : end + 1], IGNORED)
        numbers[row, : end - start] = documents_of[start + 1 : end + 1]
        reached = end
    return ScoringWindows(inputs, targets, numbers, text_sizes(documents))


def text_sizes(documents: Sequence[str]) -> npt.NDArray[np.int64]:
    """UTF-8 bytes and words of each document (D, 2), words as lm-eval counts them."""
    pairs = [(len(document.encode()), len(re.split(r"\s+", document))) for document in documents]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def separate_windows(documents: Sequence[str], tokenizer: TextTokenizer, context: int, stride: int) -> ScoringWindows:
    """Each document in windows of its own, of `context` tokens that advance by `stride`.

    Raises:
        UserError: If the text has no token.
    """
    filled = [number for number, ids in enumerate(tokenizer.encode(documents)) if ids]
    if not filled:
        raise UserError("the text to score has no token", remedy="give a longer text or another split")
    parts = [scoring_windows([documents[number]], tokenizer, context, stride) for number in filled]
    numbers = [np.full_like(part.documents, number) for number, part in zip(filled, parts, strict=True)]
    inputs, targets = (np.concatenate([getattr(part, name) for part in parts]) for name in ("inputs", "targets"))
    return ScoringWindows(inputs, targets, np.concatenate(numbers), text_sizes(documents))


def rolling_windows(documents: Sequence[str], tokenizer: TextTokenizer, context: int) -> ScoringWindows:
    """Each document in windows of its own, as lm-eval rolls them.

    The first starts with the separator, and the last is filled with the tokens before those that it scores.

    Raises:
        UserError: If the text has no token.
    """
    windows = [
        (number, given, wanted)
        for number, ids in enumerate(tokenizer.encode(documents))
        for given, wanted in _roll([tokenizer.separator_id, *ids], context)
    ]
    if not windows:
        raise UserError("the text to score has no token", remedy="give a longer text or another split")
    inputs = np.full((len(windows), context), tokenizer.separator_id, dtype=np.int64)
    targets = np.full((len(windows), context), IGNORED, dtype=np.int64)
    for row, (_, given, wanted) in enumerate(windows):
        inputs[row, : len(given)] = given
        targets[row, len(given) - len(wanted) : len(given)] = wanted
    numbers = np.array([number for number, _, _ in windows])
    return ScoringWindows(inputs, targets, np.repeat(numbers[:, None], context, axis=1), text_sizes(documents))


def _roll(ids: Sequence[int], context: int) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Inputs of a document's windows, and the targets of their last positions; the first id is no target."""
    windows, scored = [], 1
    while scored < len(ids):
        end = min(scored + context, len(ids))
        windows.append((ids[max(0, end - 1 - context) : end - 1], ids[scored:end]))
        scored = end
    return windows


def _window_starts(length: int, context: int, stride: int) -> list[int]:
    """Starts of windows until one reaches `length`."""
    starts = [0]
    while starts[-1] + context < length:
        starts.append(starts[-1] + stride)
    return starts


def training_offsets(stream: Ids, context: int, samples: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Random starts (samples,) of training blocks, with replacement.

    Raises:
        UserError: If the stream is shorter than one block and its target.
    """
    if len(stream) < context + 2:
        raise UserError(
            f"the training split has {len(stream)} tokens, fewer than one block of {context} and its target",
            remedy="give more text or a smaller task.context",
        )
    return generator.integers(0, len(stream) - context, size=samples)
