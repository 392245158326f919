"""Translation: the next target token from the source and the target before it; quality is BLEU and chrF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from harness.config.task import ScoringConfig
from harness.data.corpus import TextSource
from harness.data.parallel import SOURCE, TARGET, Pair, parallel_corpus, require_pairs
from harness.data.tokens import IGNORED, Ids, TokenRows, token_rows
from harness.energy.meter import Work
from harness.errors import UserError
from harness.metrics.translation import translation_quality
from harness.models.seq2seq import EncoderDecoder, Marks
from harness.runner.batches import Batch, ScoringBatches, StepSize, TextSize, TrainingBatches, WorkSums
from harness.runner.module import LanguageModule
from harness.runner.score import Pieces, likelihood, require_packed, score_batches, scoring_work
from harness.runner.session import Session, TaskOutcome
from harness.runner.translate import TranslationModule, translate_batches

Row = Sequence[int] | Ids

# Batches are cut from pools of this many batches, sorted by length.
POOL = 100


class TranslationObjective:
    """Target sentences, from source sentences."""

    def training_batches(self, session: Session, context: int, size: StepSize) -> TrainingBatches:
        """Pairs of similar length; a micro-batch holds as many tokens as `micro_batch_size` pairs do on average.

        Raises:
            UserError: If no pair fits into the context.
        """
        encoder = PairEncoder.of(session)
        corpus = parallel_corpus(session.corpus)
        pairs = encoder.rows(corpus, "train")
        return PairBatches(pairs, encoder, context, size, session)

    def validation_batches(self, session: Session, context: int, max_bytes: int) -> ScoringBatches:
        """Pairs of the validation split, with the references as targets."""
        return self._reference_batches(session, "validation", max_bytes, session.config.batch_size)

    def score(self, session: Session, module: LanguageModule, scoring: ScoringConfig) -> TaskOutcome:
        """Perplexity of the references; then BLEU and chrF of translations, and what each costs."""
        require_packed(scoring)
        batches = self._reference_batches(session, scoring.split, scoring.max_bytes, session.config.batch_size)
        scored = score_batches(session, module, batches)
        assert batches.size is not None, "every target of the pairs is scored"
        pieces = Pieces("pairs", np.array(scored.nats), np.array(batches.tokens_by_window), None)
        quality = likelihood(pieces, batches.size, session.config.seed)
        pairs = held_out_pairs(session.corpus, scoring.split, scoring.max_bytes)
        translations, translate_reason = translate_pairs(session, pairs)
        settings = network_of(session).decoding
        left_out = len(pairs) - len(PairEncoder.of(session).fitting(pairs))
        protocol = {
            "split": scoring.split,
            "tokenizer": session.model.tokenizer.name,
            "documents": f"{len(pairs)} pairs, each alone; {left_out} too long for the perplexity and cut to translate",
            "decoding": f"beam of {settings.beam_size}, length penalty {settings.length_penalty:g}",
            "interval": "95 % bootstrap over pairs",
        }
        scores = translation_quality(translations, [target for _, target in pairs])
        return TaskOutcome(
            {**quality, **scores, "translated_pairs": len(pairs), "protocol": protocol},
            {"score": scored.stop_reason, "translate": translate_reason},
        )

    def _reference_batches(self, session: Session, split: str, max_bytes: int, batch_size: int) -> ScoringBatches:
        encoder = PairEncoder.of(session)
        pairs = encoder.fitting(held_out_pairs(session.corpus, split, max_bytes))
        sources, targets = (encoder.encode([pair[side] for pair in pairs], side) for side in (SOURCE, TARGET))
        batches = [
            encoder.batch(sources[start : start + batch_size], targets[start : start + batch_size])
            for start in range(0, len(pairs), batch_size)
        ]
        size = TextSize(sum(len(target.encode()) for _, target in pairs), sum(len(t.split()) for _, t in pairs))
        return ScoringBatches(batches, scoring_work(session, batches, size), size)


def held_out_pairs(source: TextSource, split: str, max_bytes: int) -> list[Pair]:
    """The first pairs of a split, until their targets reach `max_bytes` UTF-8 bytes.

    Raises:
        UserError: If the split is empty.
    """
    pairs = require_pairs(parallel_corpus(source), split)
    ends = np.cumsum([len(target.encode()) for _, target in pairs])
    return list(pairs[: int(np.searchsorted(ends, max_bytes)) + 1])


def network_of(session: Session) -> EncoderDecoder:
    """The session's network, as what it is here."""
    assert isinstance(session.model.network, EncoderDecoder), "its option names this objective"
    return session.model.network


def translate_pairs(session: Session, pairs: Sequence[Pair]) -> tuple[list[str], str]:
    """Translate the sources, longest first; returns the translations in their order, and why the repeats stopped."""
    encoder = PairEncoder.of(session)
    sources = encoder.encode([source for source, _ in pairs], SOURCE)
    order = sorted(range(len(pairs)), key=lambda number: -len(sources[number]))
    size = session.config.batch_size
    batches: list[Batch] = []
    for start in range(0, len(order), size):
        padded = encoder.source([sources[number] for number in order[start : start + size]])
        batches.append(((padded,), torch.full((len(padded), 1), IGNORED)))
    rows, reason = translate_batches(session, TranslationModule(network_of(session)), batches)
    texts = session.model.tokenizer.decode(rows)
    by_number = dict(zip(order, texts, strict=True))
    return [by_number[number] for number in range(len(pairs))], reason


@dataclass(frozen=True)
class PairEncoder:
    """From sentences to padded ids.

    Attributes:
        session: Gives tokenizer and cache.
        marks: Token ids around sentences.
        longest: Tokens of a sentence at most, besides its marks; longer ones are cut.
    """

    session: Session
    marks: Marks
    longest: int

    @classmethod
    def of(cls, session: Session) -> PairEncoder:
        """Of a session's model."""
        marks = network_of(session).marks
        marked = max(len(marks.source_start) + 1, len(marks.target_start))
        return cls(session, marks, session.model.context_length - marked)

    def rows(self, source: TextSource, split: str) -> tuple[TokenRows, TokenRows]:
        """Source and target ids of a split's pairs."""
        session = self.session
        pairs = require_pairs(parallel_corpus(source), split)
        found = [
            token_rows(
                [pair[side] for pair in pairs],
                f"{source.content_hash}:{split}:{side}",
                session.model.tokenizer_of(side),
                session.cache_dir,
            )
            for side in (SOURCE, TARGET)
        ]
        return found[0], found[1]

    def fitting(self, pairs: Sequence[Pair]) -> list[Pair]:
        """The pairs of which neither sentence has to be cut.

        Raises:
            UserError: If there is none.
        """
        sides = [
            self.session.model.tokenizer_of(side).encode([pair[side] for pair in pairs]) for side in (SOURCE, TARGET)
        ]
        longest = [max(len(source), len(target)) for source, target in zip(*sides, strict=True)]
        found = [pair for pair, length in zip(pairs, longest, strict=True) if length <= self.longest]
        if not found:
            raise UserError(
                f"no held-out pair fits into {self.longest} tokens", remedy="use a larger model.context_length"
            )
        return found

    def encode(self, texts: Sequence[str], side: int) -> list[list[int]]:
        """Ids of each text, cut to the longest."""
        return [ids[: self.longest] for ids in self.session.model.tokenizer_of(side).encode(texts)]

    def source(self, rows: Sequence[Row]) -> torch.Tensor:
        """Padded source ids (B, S) within their marks."""
        marks = self.marks
        return padded(rows, marks.padding, marks.source_start, (marks.end,))

    def batch(self, sources: Sequence[Row], targets: Sequence[Row]) -> Batch:
        """Source (B, S), target after its start (B, T); and the targets (B, T), IGNORED where none is asked for."""
        marks = self.marks
        unasked = (IGNORED,) * (len(marks.target_start) - 1)
        given = padded(targets, marks.padding, marks.target_start, ())
        wanted = padded(targets, IGNORED, unasked, (marks.end,))
        return (self.source(sources), given), wanted


def padded(rows: Sequence[Row], filler: int, before: Sequence[int], after: Sequence[int]) -> torch.Tensor:
    """Rows of any length, each between the same ids, filled up to the longest (B, T)."""
    width = len(before) + max(len(row) for row in rows) + len(after)
    ids = np.full((len(rows), width), filler, dtype=np.int64)
    ids[:, : len(before)] = before
    for number, row in enumerate(rows):
        end = len(before) + len(row)
        ids[number, len(before) : end] = row
        ids[number, end : end + len(after)] = after
    return torch.from_numpy(ids)


class PairBatches:
    """Micro-batches of pairs of similar length, epoch after epoch.

    Each epoch shuffles the pairs, sorts pools of them by length, and cuts these into batches whose padded tokens are at
    most `micro_batch_size` times the mean; then it shuffles the batches.

    Raises:
        UserError: If no pair fits into the context.
    """

    def __init__(
        self, pairs: tuple[TokenRows, TokenRows], encoder: PairEncoder, context: int, size: StepSize, session: Session
    ) -> None:
        self._pairs = pairs
        self._encoder = encoder
        marks = encoder.marks
        lengths = np.stack(
            [pairs[SOURCE].lengths + len(marks.source_start) + 1, pairs[TARGET].lengths + len(marks.target_start)]
        )
        filled = np.minimum(pairs[SOURCE].lengths, pairs[TARGET].lengths) > 0
        fitting = np.flatnonzero((lengths.max(axis=0) <= context) & filled)
        devices = session.config.hardware.devices
        if len(fitting) < devices:
            raise UserError(
                f"{len(fitting) or 'no'} pair of the training split fits into {context} tokens",
                remedy="use a larger model.context_length or task.context",
            )
        self._lengths = lengths
        self._size = size
        self._session = session
        self._batches = _batches(lengths, fitting, size.micro_batch_size, session.config.seed, devices)
        self._rows: list[npt.NDArray[np.int64]] = []  # of each micro-batch that was asked for so far
        self._work = WorkSums()  # of these

    def __len__(self) -> int:
        return self._size.steps * self._size.micro_batches

    def __getitem__(self, index: int) -> Batch:
        self._grow(index + 1)
        sources, targets = self._pairs
        rows = self._rows[index]
        return self._encoder.batch([sources[row] for row in rows], [targets[row] for row in rows])

    def work(self, first: int, last: int) -> Work:
        """Work of the micro-batches from `first` on, before `last`; tokens are the target's, without padding."""
        self._grow(last)
        return self._work.between(first, last)

    def _grow(self, count: int) -> None:
        """Cut more batches, until there are `count`."""
        while len(self._rows) < count:
            rows = next(self._batches)
            source, target = (int(side.max()) for side in self._lengths[:, rows])
            self._rows.append(rows)
            self._work.append(
                Work(
                    iterations=int(len(self._rows) % self._size.micro_batches == 0),
                    samples=len(rows),
                    tokens=int((self._pairs[TARGET].lengths[rows] + 1).sum()),  # and the end of each
                    flops=self._session.training_flops(len(rows), (source, target)),
                )
            )


def _batches(
    lengths: npt.NDArray[np.int64], fitting: npt.NDArray[np.int64], batch_size: int, seed: int, at_least: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of each batch, without end; `at_least` so many, where the text has them."""
    generator = np.random.default_rng(seed)
    longest = lengths.max(axis=0)
    budget = batch_size * float(longest[fitting].mean())
    while True:
        shuffled = generator.permutation(fitting)
        epoch: list[npt.NDArray[np.int64]] = []
        for pool in np.split(shuffled, range(POOL * batch_size, len(shuffled) - at_least + 1, POOL * batch_size)):
            epoch += _cut(pool[np.argsort(longest[pool], kind="stable")], longest, budget, at_least)
        for number in generator.permutation(len(epoch)):
            yield epoch[number]


def _cut(
    rows: npt.NDArray[np.int64], longest: npt.NDArray[np.int64], budget: float, at_least: int
) -> list[npt.NDArray[np.int64]]:
    """Rows, from short to long, cut where the padded tokens would be more than the budget."""
    ends, start = [], 0
    for end in range(at_least, len(rows) - at_least + 1):
        if end - start >= at_least and (end + 1 - start) * longest[rows[end]] > budget:
            ends.append(end)
            start = end
    return np.split(rows, ends)
