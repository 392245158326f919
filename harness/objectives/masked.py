"""Masked tokens (Devlin et al. 2019): 15 % of a block are predicted from what is left of it, on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from harness.config.task import ScoringConfig
from harness.data.corpus import require_documents, take_bytes, text_corpus
from harness.data.tokens import IGNORED, join_documents
from harness.energy.meter import Work
from harness.metrics.language import perplexity
from harness.objectives.causal import BlockBatches, block_work, scoring_context, training_stream
from harness.runner.batches import Batch, ScoringBatches, StepSize, TrainingBatches
from harness.runner.module import LanguageModule
from harness.runner.score import require_packed, score_batches, scoring_work
from harness.runner.session import Session, TaskOutcome
from harness.stats.intervals import ratio_interval

PREDICTED = 0.15  # Share of tokens that are predicted; of these,
MASKED = 0.8  # this share is replaced by the mask,
REPLACED = 0.1  # and this by a random token; the rest stays.

Array = npt.NDArray[np.int64]


class MaskedObjective:
    """Tokens that were masked, from both sides."""

    def training_batches(self, session: Session, context: int, size: StepSize) -> TrainingBatches:
        """Random blocks of the training split, with masks drawn anew for each.

        Raises:
            UserError: If the text is shorter than one block.
        """
        seed, work = session.config.seed, block_work(session, context, size)
        blocks = BlockBatches(training_stream(session), context, size, seed, work)
        return MaskedBatches(blocks, Masking.of(session), seed)

    def validation_batches(self, session: Session, context: int, max_bytes: int) -> ScoringBatches:
        """The validation split once, with masks that are the same at every validation."""
        documents = take_bytes(require_documents(text_corpus(session.corpus), "validation"), max_bytes)
        ids, _ = join_documents(documents, session.model.tokenizer)
        windows = cut(ids, context, session.model.tokenizer.separator_id)
        inputs, targets = Masking.of(session).draw(windows, np.random.default_rng([session.config.seed, 0]))
        rows = session.config.batch_size
        batches: list[Batch] = [
            ((torch.from_numpy(inputs[start : start + rows]),), torch.from_numpy(targets[start : start + rows]))
            for start in range(0, len(windows), rows)
        ]
        return ScoringBatches(batches, scoring_work(session, batches, None), None)

    def score(self, session: Session, module: LanguageModule, scoring: ScoringConfig) -> TaskOutcome:
        """Pseudo-perplexity (Salazar et al. 2020) of the held-out text: each token masked alone, in its window."""
        require_packed(scoring)
        context = scoring_context(session, scoring)
        documents = take_bytes(require_documents(text_corpus(session.corpus), scoring.split), scoring.max_bytes)
        ids, scored = join_documents(documents, session.model.tokenizer)
        rows = OneMaskRows(ids, scored, context, Masking.of(session), session.config.batch_size)
        batches = ScoringBatches(rows, scoring_work(session, rows, None), None)
        found = score_batches(session, module, batches)
        nats = found.nats
        by_window = np.bincount(rows.windows, weights=nats)
        counts = np.bincount(rows.windows)
        interval = ratio_interval(list(by_window[counts > 0]), list(counts[counts > 0]), session.config.seed)
        quality = {
            "pseudo_perplexity": perplexity(sum(nats), len(nats)),
            "pseudo_perplexity_ci_low": perplexity(interval.low, 1) if interval else None,
            "pseudo_perplexity_ci_high": perplexity(interval.high, 1) if interval else None,
            "scored_tokens": len(nats),
            "protocol": {
                "split": scoring.split,
                "context": context,
                "documents": "packed, each after a separator that is context and is not scored",
                "masks": "one token at a time, in windows without overlap",
                "tokenizer": session.model.tokenizer.name,
                "interval": "95 % percentile bootstrap over windows",
            },
        }
        return TaskOutcome(quality, {"score": found.stop_reason})


class Masking:
    """Draws which tokens are predicted, and what stands in their place.

    Args:
        vocab_size: Ordinary token ids are 0 to `vocab_size` - 1.
        separator_id: Never predicted.
        mask_id: Stands for a masked token.
    """

    def __init__(self, vocab_size: int, separator_id: int, mask_id: int) -> None:
        self._vocab_size = vocab_size
        self.separator_id = separator_id
        self.mask_id = mask_id

    @classmethod
    def of(cls, session: Session) -> Masking:
        """Of a session's model."""
        tokenizer, mask_id = session.model.tokenizer, session.model.mask_id
        assert mask_id is not None, "a masked language model has a mask"
        return cls(tokenizer.vocab_size, tokenizer.separator_id, mask_id)

    def draw(self, ids: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Inputs and targets for blocks (B, T); at least one token of each is predicted.

        Returns:
            Inputs (B, T), and targets (B, T) that are IGNORED where nothing is predicted.
        """
        draws = np.where(ids == self.separator_id, 1.0, generator.random(ids.shape))
        predicted = (draws < PREDICTED) | (draws == draws.min(axis=1, keepdims=True))
        predicted &= ids != self.separator_id
        kind = generator.random(ids.shape)
        random_ids = generator.integers(self._vocab_size, size=ids.shape)
        replaced = np.where(kind < MASKED, self.mask_id, np.where(kind < MASKED + REPLACED, random_ids, ids))
        return np.where(predicted, replaced, ids), np.where(predicted, ids, IGNORED)


class MaskedBatches:
    """Blocks with masks that depend on the seed and the batch's place alone."""

    def __init__(self, blocks: BlockBatches, masking: Masking, seed: int) -> None:
        self._blocks = blocks
        self._masking = masking
        self._seed = seed

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, index: int) -> Batch:
        (ids,), _ = self._blocks[index]
        generator = np.random.default_rng([self._seed, 1, index])
        inputs, targets = self._masking.draw(ids.numpy(), generator)
        return (torch.from_numpy(inputs),), torch.from_numpy(targets)

    def work(self, first: int, last: int) -> Work:
        """Work of the micro-batches from `first` on, before `last`; tokens are all that the model reads."""
        return self._blocks.work(first, last)


def cut(ids: Array, context: int, padding: int) -> Array:
    """A stream (S,) as windows (W, T) without overlap, the last one padded."""
    padded = np.full(-(-len(ids) // context) * context, padding, dtype=np.int64)
    padded[: len(ids)] = ids
    return padded.reshape(-1, context)


class OneMaskRows(Sequence[Batch]):
    """Batches of rows: the window of each scored token, with that token alone masked.

    Args:
        ids: Token ids (S,).
        scored: Which of them are scored (S,).
        context: Tokens of a window.
        masking: Gives the mask.
        batch_size: Rows of a batch.

    Attributes:
        windows: The window of each row.
    """

    def __init__(
        self, ids: Array, scored: npt.NDArray[np.bool_], context: int, masking: Masking, batch_size: int
    ) -> None:
        self._blocks = cut(ids, context, masking.separator_id)
        self.windows, self._columns = np.divmod(np.flatnonzero(scored), context)
        self._mask_id = masking.mask_id
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.windows) // self._batch_size)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        rows = slice(index * self._batch_size, (index + 1) * self._batch_size)
        inputs, columns = self._blocks[self.windows[rows]], self._columns[rows]
        at = np.arange(len(inputs)), columns
        targets = np.full_like(inputs, IGNORED)
        targets[at] = inputs[at]
        inputs[at] = self._mask_id
        return (torch.from_numpy(inputs),), torch.from_numpy(targets)
