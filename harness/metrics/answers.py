"""Exact match and F1 of answers (Rajpurkar et al. 2016), pass@k (Chen et al. 2021), distinct-n (Li et al. 2016)."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence


def normalised(answer: str) -> str:
    """Lower case, without punctuation, articles and extra space, as SQuAD's own script does it."""
    kept = "".join(character for character in answer.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 if the normalised answer is one of the references, else 0."""
    return float(any(normalised(answer) == normalised(reference) for reference in references))


def f1(answer: str, references: Sequence[str]) -> float:
    """Largest F1 of words shared with a reference, 0 to 1; answers without a word match only each other."""
    return max(
        (_f1(normalised(answer).split(), normalised(reference).split()) for reference in references), default=0.0
    )


def _f1(answer: list[str], reference: list[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    shared = sum((Counter(answer) & Counter(reference)).values())
    return 2 * shared / (len(answer) + len(reference))


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Chance that one of `k` of the samples passes: 1 - C(n - c, k) / C(n, k)."""
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams of words over all of them, in all texts together; None where there is none."""
    grams = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None
