"""Scoring: the likelihood of held-out text, and what computing it costs. Task `score` does nothing else."""

from __future__ import annotations

from collections.abc import Sequence
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
from harness.record.windows import write_frame
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


def score_batches(session: Session, module: LanguageModule, batches: ScoringBatches) -> tuple[list[float], str]:
    """Warm up, score the whole text once for its quality, then repeat part of it for its cost.

    Returns:
        Summed nats of each window, and why the repeats stopped.
    """
    scorer = Scorer(session, module, batches, "score")
    scorer.warm_up()
    scorer.whole_text()
    nats = [float(value) for value in torch.cat(module.nats).cpu()]
    return nats, repeat_until_precise(session.config.protocol, scorer.repeat)


def require_packed(scoring: ScoringConfig) -> None:
    """Check that documents are not to be rolled.

    Raises:
        UserError: If they are.
    """
    if scoring.documents != "packed":
        raise UserError(
            f"task.scoring.documents={scoring.documents} is for models of the next token", allowed=["packed"]
        )


def write_likelihoods(session: Session, batches: ScoringBatches, nats: Sequence[float]) -> None:
    """Keep what each window's tokens cost, so that runs on one text can be compared window by window."""
    rows = [{"nats": cost, "tokens": count} for cost, count in zip(nats, batches.tokens_by_window, strict=True)]
    write_frame(session.folder / "likelihoods.parquet", rows)


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
    batches = split_windows(windows.inputs, windows.targets, session.config.batch_size)
    size = TextSize(windows.text_bytes, windows.text_words)
    return ScoringBatches(batches, scoring_work(session, batches, size), size)


def scoring_work(session: Session, batches: Sequence[Batch], size: TextSize | None) -> list[Work]:
    """Work of each batch, of a text of a size."""
    counts = [int((targets != IGNORED).sum()) for _, targets in batches]
    weights = weight_bytes(session.model.network)
    cache = session.config.hardware.cache_bytes
    return [
        Work(
            iterations=1,
            samples=len(targets),
            tokens=count,
            # A part of the text has its share of the bytes: what its tokens stand for, on average.
            text_bytes=None if size is None else size.text_bytes * count / sum(counts),
            flops=float(session.model.shape.forward_flops(len(targets), tuple(ids.shape[1] for ids in inputs))),
            # Weights are read once a forward pass; from where is unknown where a cache may hold them.
            memory_bytes=None if cache is None or weights <= cache else float(weights),
        )
        for (inputs, targets), count in zip(batches, counts, strict=True)
    ]


def likelihood(
    batches: ScoringBatches, nats: list[float], seed: int, documents: npt.NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """Metrics of the likelihood of a text, with a bootstrap interval over its documents, or else its windows.

    Args:
        batches: The text.
        nats: Summed negative log-likelihood of each window.
        seed: Of the bootstrap.
        documents: Number of each window's document, where each holds one alone.
    """
    by_window, size = batches.tokens_by_window, batches.size
    total, tokens = sum(nats), sum(by_window)
    assert size is not None, "the likelihood of a text is that of all its tokens"
    parts = np.arange(len(nats)) if documents is None else documents
    interval = ratio_interval(list(np.bincount(parts, nats)), list(np.bincount(parts, by_window)), seed)
    return {
        "cross_entropy_nats": total / tokens,
        "perplexity": perplexity(total, tokens),
        "perplexity_ci_low": perplexity(interval.low, 1) if interval else None,
        "perplexity_ci_high": perplexity(interval.high, 1) if interval else None,
        "word_perplexity": perplexity(total, size.words),
        "byte_perplexity": perplexity(total, size.text_bytes),
        "bits_per_byte": bits_per_byte(total, size.text_bytes),
        "scored_tokens": tokens,
        "text_bytes": size.text_bytes,
        "text_words": size.words,
    }
