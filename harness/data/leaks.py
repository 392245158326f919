"""What must not stand in the training split because the held-out splits hold it, or nearly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

# A text is nearly another's if it holds at least this share of the other's word n-grams.
SHARE = 0.5
N = 8


def words(text: str) -> list[str]:
    """The words of a text without case, punctuation and white space."""
    return re.findall(r"\w+", text.casefold())


def _ngrams(text: str) -> set[tuple[str, ...]]:
    """Word n-grams; a text of fewer words is one itself."""
    found = words(text)
    return {tuple(found[start : start + N]) for start in range(max(1, len(found) - N + 1))}


class HeldOut:
    """An index of held-out texts, which tells the training texts that nearly hold one of them.

    Args:
        texts: The held-out texts.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._owners: dict[tuple[str, ...], list[int]] = {}
        self._sizes: list[int] = []
        for number, text in enumerate(texts):
            ngrams = _ngrams(text)
            self._sizes.append(len(ngrams))
            for ngram in ngrams:
                self._owners.setdefault(ngram, []).append(number)

    def is_in(self, text: str) -> bool:
        """Whether a text holds at least half of the word 8-grams of a held-out text; of a shorter one, all its words.

        A held-out text of fewer than eight words counts only where the other is the same words.
        """
        shared = Counter(number for ngram in _ngrams(text) for number in self._owners.get(ngram, ()))
        return any(count >= SHARE * self._sizes[number] for number, count in shared.items())


def without_leaks(train: Sequence[str], held_out: Iterable[str]) -> list[str]:
    """The training texts that hold no held-out text, nor nearly."""
    index = HeldOut(held_out)
    return [text for text in train if not index.is_in(text)]
