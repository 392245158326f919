"""Scoring: the likelihood of held-out text, and what computing it costs. Task `score` does nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from harness.config.task import ScoreTaskConfig, ScoringConfig
from harness.data.tokens import IGNORED, ScoringWindows
from harness.energy.cuda import cuda_in_use
from harness.energy.meter import Window, Work
from harness.errors import UserError
from harness.metrics.language import bits_per_byte, perplexity
from harness.models.generation import weight_bytes
from harness.runner.batches import AtLeast, Batch, ScoringBatches, TextSize, split_windows
from harness.runner.metering import MeteredEvaluation, ReportProgress
from harness.runner.module import LanguageModule
from harness.runner.repeats import repeat_until_precise
from harness.runner.session import Session, TaskOutcome
from harness.stats.intervals import ratio_interval


def run_score(session: Session) -> TaskOutcome:
    """Score the held-out text with the model as it was loaded."""
    task = session.config.task
    assert isinstance(task, ScoreTaskConfig)
    return session.objective.score(session, LanguageModule(session.model.network), task.scoring)


@dataclass(frozen=True)
class Scored:
    """A text that was scored.

    Attributes:
        nats: Negative log-likelihood of each window, summed.
        token_nats: Of each target, batch by batch (B, T).
        stop_reason: Why the repeats stopped.
    """

    nats: list[float]
    token_nats: list[npt.NDArray[np.float32]]
    stop_reason: str


def score_batches(session: Session, module: LanguageModule, batches: ScoringBatches) -> Scored:
    """Warm up, score the whole text once for its quality, then repeat part of it for its cost."""
    scorer = Scorer(session, module, batches, "score")
    scorer.warm_up()
    scorer.whole_text()
    nats = [float(value) for value in torch.cat(module.nats).cpu()]
    tokens = [batch.cpu().numpy() for batch in module.token_nats]
    return Scored(nats, tokens, repeat_until_precise(session.config.protocol, scorer.repeat))


def require_packed(scoring: ScoringConfig) -> None:
    """Check that documents are not to be rolled.

    Raises:
        UserError: If they are.
    """
    if scoring.documents != "packed":
        raise UserError(
            f"task.scoring.documents={scoring.documents} is for models of the next token", allowed=["packed"]
        )


@dataclass(frozen=True)
class Pieces:
    """A scored text in the pieces that a bootstrap draws: documents, or the windows of a single one.

    Attributes:
        kind: What they are, for the record.
        nats, tokens: Summed negative log-likelihood and scored tokens of each (N,).
        sizes: UTF-8 bytes and words of each (N, 2); None where it is not known what they hold.
    """

    kind: str
    nats: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64] | None

    @classmethod
    def of_documents(cls, windows: ScoringWindows, by_batch: Sequence[npt.NDArray[np.float32]]) -> Pieces:
        """From the nats of every target, batch by batch: by document, or by window where there is one document."""
        width = windows.targets.shape[1]
        token_nats = np.concatenate([np.pad(nats, ((0, 0), (0, width - nats.shape[1]))) for nats in by_batch])
        scored = windows.targets != IGNORED
        if len(windows.sizes) < 2:
            by_window: npt.NDArray[np.float64] = token_nats.sum(axis=1, dtype=np.float64)
            return cls("windows", by_window, scored.sum(axis=1), None)
        numbers, count = windows.documents[scored], len(windows.sizes)
        nats = np.zeros(count)
        np.add.at(nats, numbers, token_nats[scored])
        return cls("documents", nats, np.bincount(numbers, minlength=count), windows.sizes)

    def rows(self) -> list[dict[str, float]]:
        """One row a piece, so that runs on one text can be compared piece by piece."""
        return [
            {"nats": float(nats), "tokens": int(tokens)} for nats, tokens in zip(self.nats, self.tokens, strict=True)
        ]


class Scorer:
    """Passes over batches, each in a window of the meter.

    Args:
        session: Gives Trainers and the meter.
        module: Its `test_step` is what is measured.
        batches: Of one pass.
        phase: Of the windows.
    """

    def __init__(self, session: Session, module: pl.LightningModule, batches: ScoringBatches, phase: str) -> None:
        self._session = session
        self._module = module
        self._batches = batches
        self._phase = phase

    def warm_up(self) -> None:
        """Run the protocol's warm-up."""
        protocol = self._session.config.protocol
        self._pass("warmup", None, max(1, protocol.warmup_iterations), protocol.warmup_s)

    def whole_text(self) -> None:
        """Every batch once."""
        self._pass(self._phase, None, len(self._batches), 0.0)

    def repeat(self, number: int) -> Window:
        """One repeat: as many whole batches as fill the protocol's window."""
        return self._pass(self._phase, number, 1, self._session.config.protocol.window_s)

    def _pass(self, phase: str, repeat: int | None, iterations: int, seconds: float) -> Window:
        # Lightning frees a GPU's memory after each pass: one batch of a repeat gets it back before the window opens.
        lead_in = 1 if repeat is not None and cuda_in_use() else 0
        metering = MeteredEvaluation(
            self._session.meter, phase, repeat, lambda: self._batches.work(loop.counted), lead_in
        )
        loop = AtLeast(self._batches, iterations, seconds, metering.elapsed_s, lead_in)
        trainer = self._session.trainer([ReportProgress(phase, self._session.progress), metering])
        trainer.test(self._module, DataLoader(loop, batch_size=None), verbose=False)
        return self._session.meter.windows[-1]


def text_batches(session: Session, windows: ScoringWindows) -> ScoringBatches:
    """Windows of a text in batches of the cell's size, with the work that scoring them is."""
    batches = split_windows(windows.inputs, windows.targets, session.config.batch_size, windows.lengths)
    size = TextSize(windows.text_bytes, windows.text_words)
    return ScoringBatches(batches, scoring_work(session, batches, size, list(windows.lengths)), size)


def scoring_work(
    session: Session, batches: Sequence[Batch], size: TextSize | None, lengths: Sequence[int] | None = None
) -> list[Work]:
    """Work of each batch, of a text of a size; `lengths` are those of all rows, where padding fills them up."""
    counts = [int((targets != IGNORED).sum()) for _, targets in batches]
    ends = np.cumsum([len(targets) for _, targets in batches])
    weights = weight_bytes(session.model.network)
    cache = session.config.hardware.cache_bytes
    return [
        Work(
            iterations=1,
            samples=len(targets),
            tokens=count,
            # A part of the text has its share of the bytes: what its tokens stand for, on average.
            text_bytes=None if size is None else size.text_bytes * count / sum(counts),
            flops=float(_row_flops(session, inputs, None if lengths is None else lengths[end - len(targets) : end])),
            # Weights are read once a forward pass; from where is unknown where a cache may hold them.
            memory_bytes=None if cache is None or weights <= cache else float(weights),
        )
        for (inputs, targets), count, end in zip(batches, counts, ends, strict=True)
    ]


def _row_flops(session: Session, inputs: tuple[torch.Tensor, ...], lengths: Sequence[int] | None) -> int:
    """Of a batch: of its rows' own lengths where they are known, or else of the padded ones."""
    shape = session.model.shape
    if lengths is None:
        return shape.forward_flops(len(inputs[0]), tuple(ids.shape[1] for ids in inputs))
    return sum(shape.forward_flops(1, (int(length),)) for length in lengths)


def likelihood(pieces: Pieces, size: TextSize, seed: int) -> dict[str, Any]:
    """Metrics of the likelihood of a text, each with a 95 % bootstrap interval over its pieces.

    Args:
        pieces: Documents, pairs or windows.
        size: Of the whole text.
        seed: Of the bootstrap.
    """
    total, tokens = float(pieces.nats.sum()), int(pieces.tokens.sum())
    return {
        "cross_entropy_nats": total / tokens,
        **_with_interval("perplexity", pieces, pieces.tokens, tokens, seed),
        **_with_interval("word_perplexity", pieces, _column(pieces.sizes, 1), size.words, seed),
        **_with_interval("byte_perplexity", pieces, _column(pieces.sizes, 0), size.text_bytes, seed),
        **_with_interval("bits_per_byte", pieces, _column(pieces.sizes, 0), size.text_bytes, seed, bits_per_byte),
        "scored_tokens": tokens,
        "text_bytes": size.text_bytes,
        "text_words": size.words,
    }


def _column(sizes: npt.NDArray[np.int64] | None, number: int) -> npt.NDArray[np.int64] | None:
    return None if sizes is None else sizes[:, number]


def _with_interval(
    name: str,
    pieces: Pieces,
    units: npt.NDArray[np.int64] | None,
    total_units: int,
    seed: int,
    metric: Callable[[float, int], float] = perplexity,
) -> dict[str, float | None]:
    """A metric of nats over units, and its ends; None where the pieces' units are not known, or there is one piece."""
    interval = None if units is None else ratio_interval(list(pieces.nats), list(units), seed)
    return {
        name: metric(float(pieces.nats.sum()), total_units),
        f"{name}_ci_low": metric(interval.low, 1) if interval else None,
        f"{name}_ci_high": metric(interval.high, 1) if interval else None,
    }
