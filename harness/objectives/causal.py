"""Next-token prediction: random blocks of a token stream in training, strided windows in scoring."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from harness.config.task import ScoringConfig
from harness.data.corpus import Corpus, require_documents, take_bytes, text_corpus
from harness.data.tokens import (
    Ids,
    ScoringWindows,
    rolling_windows,
    scoring_windows,
    separate_windows,
    token_file,
    training_offsets,
)
from harness.energy.meter import Work
from harness.errors import UserError
from harness.record.windows import write_frame
from harness.runner.batches import Batch, ScoringBatches, StepSize, TextSize, TrainingBatches
from harness.runner.module import LanguageModule
from harness.runner.score import Pieces, likelihood, score_batches, text_batches
from harness.runner.session import Session, TaskOutcome

DEFAULT_CONTEXT = 256
# Steps whose blocks are drawn at a time.
AHEAD = 128
DOCUMENTS = {
    "packed": "packed, each after a separator that is context and is not scored",
    "separate": "each alone after a separator that is not scored, in windows that advance by the stride",
    "rolling": "each alone after a separator that is not scored, in lm-eval's rolling windows",
}


class CausalObjective:
    """The next token, from those before it."""

    def training_batches(self, session: Session, context: int, size: StepSize) -> TrainingBatches:
        """Random blocks of the training split.

        Raises:
            UserError: If the text is shorter than one block.
        """
        work = block_work(session, context, size)
        return BlockBatches(training_stream(session), context, size, session.config.seed, work)

    def validation_batches(self, session: Session, context: int, max_bytes: int) -> ScoringBatches:
        """Windows of the validation split without overlap."""
        documents = take_bytes(require_documents(text_corpus(session.corpus), "validation"), max_bytes)
        return text_batches(session, scoring_windows(documents, session.model.tokenizer, context, context))

    def score(self, session: Session, module: LanguageModule, scoring: ScoringConfig) -> TaskOutcome:
        """Perplexity and bits per byte of the held-out text."""
        windows = held_out_windows(session, scoring).longest_first()
        batches = text_batches(session, windows)
        scored = score_batches(session, module, batches)
        pieces = Pieces.of_documents(windows, scored.token_nats)
        size = TextSize(windows.text_bytes, windows.text_words)
        quality = likelihood(pieces, size, session.config.seed)
        write_frame(session.folder / "likelihoods.parquet", pieces.rows())
        tokenizer = session.model.tokenizer
        protocol = {
            "split": scoring.split,
            "context": windows.inputs.shape[1],
            "stride": scoring.stride or windows.inputs.shape[1],
            "documents": DOCUMENTS[scoring.documents],
            "separator_id": tokenizer.separator_id,
            "tokenizer": tokenizer.name,
            "interval": f"95 % percentile bootstrap over {pieces.kind}",
        }
        return TaskOutcome({**quality, "protocol": protocol}, {"score": scored.stop_reason})


def held_out_windows(session: Session, scoring: ScoringConfig) -> ScoringWindows:
    """The windows of the text to score.

    Raises:
        UserError: If the context is longer than the model's, or the split is empty.
    """
    context = scoring_context(session, scoring)
    stride = scoring.stride or context
    if stride > context:
        raise UserError(
            f"task.scoring.stride={stride} is longer than the context of {context} tokens: tokens would be left out"
        )
    documents = take_bytes(require_documents(text_corpus(session.corpus), scoring.split), scoring.max_bytes)
    if scoring.documents == "rolling":
        return rolling_windows(documents, session.model.tokenizer, context)
    if scoring.documents == "separate":
        return separate_windows(documents, session.model.tokenizer, context, stride)
    return scoring_windows(documents, session.model.tokenizer, context, stride)


def scoring_context(session: Session, scoring: ScoringConfig) -> int:
    """Tokens of a scoring window.

    Raises:
        UserError: If they are more than the model reads.
    """
    longest = session.model.context_length
    context = scoring.context or min(longest, DEFAULT_CONTEXT)
    if context > longest:
        raise UserError(
            f"task.scoring.context={context}: {session.config.model.label} reads at most {longest} tokens",
            remedy=f"use task.scoring.context={longest} or less, or null",
        )
    return context


def training_stream(session: Session) -> Ids:
    """The training split's tokens (S,)."""
    corpus: Corpus = text_corpus(session.corpus)
    return token_file(corpus, "train", session.model.tokenizer, session.cache_dir)


def block_work(session: Session, context: int, size: StepSize) -> Work:
    """Work of one micro-batch of blocks."""
    return Work(
        iterations=1,
        samples=size.micro_batch_size,
        tokens=size.micro_batch_size * context,
        flops=session.training_flops(size.micro_batch_size, (context,)),
    )


class BlockBatches:
    """Random blocks of a token stream, drawn with replacement; those of a step depend on the seed and its number alone.

    Args:
        stream: Token ids (S,).
        context: Tokens of a block.
        size: Steps and micro-batches.
        seed: Of the blocks' places.
        work: Of one micro-batch.

    Raises:
        UserError: If the stream is shorter than one block.
    """

    def __init__(self, stream: Ids, context: int, size: StepSize, seed: int, work: Work) -> None:
        self._stream = np.asarray(stream)  # Still the file's memory, without the cost of np.memmap's own indexing.
        self._context = context
        self._size = size
        self._seed = seed
        self._work = size.repeated(work)
        self._drawn: dict[int, npt.NDArray[np.int64]] = {}
        self._offsets(0)  # raises where the stream is too short
        self._blocks = np.lib.stride_tricks.sliding_window_view(self._stream, context + 1)  # (S - T, T + 1), no copy

    def _offsets(self, step: int) -> npt.NDArray[np.int64]:
        """Where the blocks of a step begin (micro-batches, blocks).

        Those of many steps are drawn at a time: between two steps of a training, whose work has emptied the caches,
        each generator would take five times as long.
        """
        if step not in self._drawn:
            self._drawn = {later: self._draw(later) for later in range(step, min(step + AHEAD, self._size.steps))}
        return self._drawn[step]

    def _draw(self, step: int) -> npt.NDArray[np.int64]:
        size, generator = self._size, np.random.default_rng([self._seed, step])
        samples = size.micro_batches * size.micro_batch_size
        return training_offsets(self._stream, self._context, samples, generator).reshape(size.micro_batches, -1)

    def __len__(self) -> int:
        return self._size.steps * self._size.micro_batches

    def __getitem__(self, index: int) -> Batch:
        step, part = divmod(index, self._size.micro_batches)
        blocks = self._blocks[self._offsets(step)[part]].astype(np.int64)
        ids = torch.from_numpy(blocks)
        return (ids[:, :-1],), ids[:, 1:]

    def work(self, first: int, last: int) -> Work:
        """Work of the micro-batches from `first` on, before `last`."""
        return self._work.between(first, last)
