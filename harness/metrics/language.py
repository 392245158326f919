"""Metrics of language modelling from summed negative log-likelihoods."""

from __future__ import annotations

import math


def perplexity(nats: float, count: int) -> float:
    """exp(nats / count): per token, word or byte, by what `count` counts. Infinite where it overflows."""
    try:
        return math.exp(nats / count)
    except OverflowError:
        return math.inf


def bits_per_byte(nats: float, text_bytes: int) -> float:
    """Nats over the text's UTF-8 bytes, in bits: log2 of the byte perplexity (lm-eval's definition)."""
    return nats / text_bytes / math.log(2)
