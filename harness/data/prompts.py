"""Prompts: pieces of a text of one length, or those of a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.data.tokenizers import TextTokenizer
from harness.errors import UserError


@dataclass(frozen=True)
class PromptBatch:
    """Prompts that are answered together.

    Attributes:
        ids_BT: Token ids, filled up on the left.
        padding_B: How many tokens of each row fill it up; None where none does.
    """

    ids_BT: Tensor  # noqa: N815 (the shape is a suffix)
    padding_B: Tensor | None  # noqa: N815

    @property
    def rows(self) -> int:
        """Number of prompts."""
        return len(self.ids_BT)

    @property
    def length(self) -> int:
        """Padded length in tokens."""
        return int(self.ids_BT.shape[1])

    @property
    def lengths(self) -> list[int]:
        """Tokens of each prompt, without padding."""
        padding = [0] * self.rows if self.padding_B is None else self.padding_B.tolist()
        return [self.length - missing for missing in padding]

    @property
    def tokens(self) -> int:
        """Tokens of all prompts, without padding."""
        return sum(self.lengths)

    def to(self, device: torch.device) -> PromptBatch:
        """The batch on a device."""
        padding = None if self.padding_B is None else self.padding_B.to(device)
        return PromptBatch(self.ids_BT.to(device), padding)

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], filler: int) -> PromptBatch:
        """Rows of any length."""
        longest = max(len(row) for row in rows)
        padding = [longest - len(row) for row in rows]
        ids = torch.tensor([[filler] * missing + list(row) for row, missing in zip(rows, padding, strict=True)])
        return cls(ids, torch.tensor(padding) if any(padding) else None)


def prompts_of_length(
    documents: Sequence[str], tokenizer: TextTokenizer, count: int, length: int, split: str
) -> list[list[int]]:
    """Prompts of `length` tokens each, one after the other from a text, over again where it is too short.

    Each starts with the tokens that start every prompt of this tokenizer.

    Raises:
        UserError: If the text is shorter than one prompt.
    """
    start = list(tokenizer.prompt_start)
    stream = [token for tokens in tokenizer.encode(documents) for token in tokens]
    size = length - len(start)
    whole = len(stream) // size if size > 0 else 0
    if whole == 0:
        raise UserError(
            f"task.prompt_tokens={length}: the {split} split has {len(stream)} tokens, fewer than one prompt",
            remedy="use a smaller task.prompt_tokens, or more text",
        )
    offsets = [(number % whole) * size for number in range(count)]
    return [start + stream[offset : offset + size] for offset in offsets]


def prompts_of_texts(texts: Sequence[str], tokenizer: TextTokenizer) -> list[list[int]]:
    """Prompts of any length.

    Raises:
        UserError: If one is empty.
    """
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise UserError(f"prompt {number} of {len(texts)} is empty", remedy="give a text to go on from")
    return [[*tokenizer.prompt_start, *ids] for ids in tokenizer.encode(texts)]
