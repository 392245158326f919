"""From source tokens to target tokens: greedy and beam search, one cached step a token."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from harness.config.model import DecodingConfig


class Steps(Protocol):
    """A network that decodes one token at a time."""

    def start(self, source_BS: Tensor) -> Any:
        """Encode the source; the state that comes back has `reorder(rows)`."""
        ...

    def step(self, tokens_B: Tensor, state: Any) -> Tensor:
        """Logits (B, V) of the token after these; the state grows by one position."""
        ...


@torch.no_grad()
def translate(
    network: Steps, source_BS: Tensor, separator_id: int, settings: DecodingConfig, longest: int
) -> list[list[int]]:
    """Target tokens of each source, without start and end.

    Beam search keeps the `beam_size` likeliest continuations of every source and ranks finished ones by their
    log-likelihood over ((5 + length) / 6) ** `length_penalty` (Wu et al. 2016); with a beam of one it is greedy.

    Args:
        network: The model.
        source_BS: Padded source ids (B, S).
        separator_id: Starts and ends a target.
        settings: Beam size, length penalty.
        longest: Tokens of a target at most.
    """
    beam = settings.beam_size
    state = network.start(source_BS)
    search = _Beams(len(source_BS), beam, separator_id, settings.length_penalty, source_BS.device)
    state.reorder(search.rows())
    for _ in range(longest):
        logits = network.step(search.last_tokens(), state)
        state.reorder(search.extend(torch.log_softmax(logits.float(), dim=-1)))
        if search.all_finished():
            break
    return search.best()


class _Beams:
    """Hypotheses of every source: `beam` rows each, one after the other.

    A finished hypothesis keeps its row and its score; the end token is its only continuation.
    """

    def __init__(self, sources: int, beam: int, end: int, penalty: float, device: torch.device) -> None:
        self._beam = beam
        self._end = end
        self._penalty = penalty
        self.tokens = torch.full((sources * beam, 1), end, device=device)  # the start token
        self._finished = torch.zeros(sources * beam, dtype=torch.bool, device=device)
        self._lengths = torch.zeros(sources * beam, device=device)
        # At the start all rows of a source are the same: only the first may continue.
        self._scores = torch.full((sources, beam), -torch.inf, device=device)
        self._scores[:, 0] = 0.0

    def rows(self) -> Tensor:
        """The source of each row."""
        return torch.arange(len(self._scores), device=self.tokens.device).repeat_interleave(self._beam)

    def last_tokens(self) -> Tensor:
        """The last token of each row."""
        return self.tokens[:, -1]

    def all_finished(self) -> bool:
        """Whether no hypothesis can change any more."""
        return bool(self._finished.all())

    def extend(self, log_p: Tensor) -> Tensor:
        """Choose the best continuations; returns the row that each new row continues.

        Args:
            log_p: Log-probabilities of the next token (rows, V).
        """
        sources, vocabulary = len(self._scores), log_p.shape[1]
        log_p = log_p.masked_fill(self._finished[:, None], -torch.inf)
        log_p[self._finished, self._end] = 0.0
        grown = self._lengths + ~self._finished
        total = self._scores.view(-1, 1) + log_p
        ranked = (total / self._normaliser(grown)[:, None]).view(sources, -1)
        choice = ranked.topk(self._beam, dim=1).indices
        self._scores = total.view(sources, -1).gather(1, choice)
        offsets = torch.arange(sources, device=choice.device)[:, None] * self._beam
        rows = (choice // vocabulary + offsets).flatten()
        chosen = (choice % vocabulary).flatten()
        self.tokens = torch.cat([self.tokens[rows], chosen[:, None]], dim=1)
        self._lengths = grown[rows]
        self._finished = self._finished[rows] | (chosen == self._end)
        return rows

    def _normaliser(self, lengths: Tensor) -> Tensor:
        return ((5 + lengths) / 6) ** self._penalty

    def best(self) -> list[list[int]]:
        """Tokens of the best hypothesis of each source, up to its end."""
        ranked = self._scores / self._normaliser(self._lengths).view(self._scores.shape)
        first = torch.arange(len(ranked), device=ranked.device) * self._beam + ranked.argmax(dim=1)
        rows: list[list[int]] = self.tokens[first, 1:].tolist()
        return [row[: row.index(self._end)] if self._end in row else row for row in rows]
