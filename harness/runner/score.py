"""Task `score`: perplexity and bits per byte of a held-out text, and what computing them costs."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from harness.config.task import ScoreTaskConfig, ScoringConfig
from harness.data.corpus import require_documents, take_bytes
from harness.data.tokens import IGNORED, ScoringWindows, scoring_windows
from harness.energy.cuda import cuda_in_use
from harness.energy.meter import Window, Work
from harness.errors import UserError
from harness.metrics.flops import forward_flops_per_token
from harness.metrics.language import bits_per_byte, perplexity
from harness.runner.batches import AtLeast, ScoringBatches
from harness.runner.metering import MeteredEvaluation, ReportProgress
from harness.runner.module import LanguageModule
from harness.runner.repeats import repeat_until_precise
from harness.runner.session import Session, TaskOutcome
from harness.stats.intervals import ratio_interval

DEFAULT_CONTEXT = 256


def run_score(session: Session) -> TaskOutcome:
    """Score the held-out text with the model as it was loaded."""
    task = session.config.task
    assert isinstance(task, ScoreTaskConfig)
    module = LanguageModule(session.model.network)
    quality, stop_reason = score_text(session, module, task.scoring)
    return TaskOutcome(quality, {"score": stop_reason})


def score_text(session: Session, module: LanguageModule, scoring: ScoringConfig) -> tuple[dict[str, Any], str]:
    """Warm up, score the whole text once for its quality, then repeat part of it for its cost.

    Returns:
        The quality metrics with their protocol, and why the repeats stopped.
    """
    windows = held_out_windows(session, scoring)
    scorer = _Scorer(session, module, windows)
    scorer.warm_up()
    nats = scorer.whole_text()
    stop_reason = repeat_until_precise(session.config.protocol, scorer.repeat)
    return _quality(session, scoring, windows, nats), stop_reason


def held_out_windows(session: Session, scoring: ScoringConfig) -> ScoringWindows:
    """The windows of the text to score.

    Raises:
        UserError: If the context is longer than the model's, or the split is empty.
    """
    longest = session.model.context_length
    context = scoring.context or min(longest, DEFAULT_CONTEXT)
    if context > longest:
        raise UserError(
            f"task.scoring.context={context}: {session.config.model.label} reads at most {longest} tokens",
            remedy=f"use task.scoring.context={longest} or less, or null",
        )
    stride = scoring.stride or context
    if stride > context:
        raise UserError(
            f"task.scoring.stride={stride} is longer than the context of {context} tokens: tokens would be left out"
        )
    documents = take_bytes(require_documents(session.corpus, scoring.split), scoring.max_bytes)
    return scoring_windows(documents, session.model.tokenizer, context, stride)


class _Scorer:
    """Passes over the windows of a text, each in a window of the meter."""

    def __init__(self, session: Session, module: LanguageModule, windows: ScoringWindows) -> None:
        self._session = session
        self._module = module
        self._windows = windows
        self._batches = ScoringBatches(windows, session.config.batch_size)
        self._weight_bytes = sum(weight.nbytes for weight in module.network.parameters())

    def warm_up(self) -> None:
        """Run the protocol's warm-up."""
        protocol = self._session.config.protocol
        self._pass("warmup", None, max(1, protocol.warmup_iterations), protocol.warmup_s)

    def whole_text(self) -> list[float]:
        """Score every window once; returns the nats of each."""
        self._pass("score", None, len(self._batches), 0.0)
        return [float(value) for value in torch.cat(self._module.nats).cpu()]

    def repeat(self, number: int) -> Window:
        """One repeat: as many whole batches as fill the protocol's window."""
        return self._pass("score", number, 1, self._session.config.protocol.window_s)

    def _pass(self, phase: str, repeat: int | None, iterations: int, seconds: float) -> Window:
        # Lightning frees a GPU's memory after each pass: one batch of a repeat gets it back before the window opens.
        lead_in = 1 if repeat is not None and cuda_in_use() else 0
        metering = MeteredEvaluation(self._session.meter, phase, repeat, lambda: self._work(loop.counted), lead_in)
        loop = AtLeast(self._batches, iterations, seconds, metering.elapsed_s, lead_in)
        trainer = self._session.trainer([ReportProgress(phase, self._session.progress), metering])
        trainer.test(self._module, DataLoader(loop, batch_size=None), verbose=False)
        return self._session.meter.windows[-1]

    def _work(self, iterations: int) -> Work:
        amount = self._batches.amount(iterations)
        flops = forward_flops_per_token(self._session.model.shape, self._windows.inputs.shape[1])
        return Work(
            iterations=iterations,
            samples=amount.windows,
            tokens=amount.scored_tokens,
            # A part of the text has its share of the bytes: what its tokens stand for, on average.
            text_bytes=self._windows.text_bytes * amount.scored_tokens / self._windows.scored_tokens,
            flops=float(flops * amount.positions),
            memory_bytes=self._weight_traffic(iterations),
        )

    def _weight_traffic(self, iterations: int) -> float | None:
        """Bytes of weights read from memory, once a forward pass; unknown where a cache may hold them."""
        cache_bytes = self._session.config.hardware.cache_bytes
        in_cache = cache_bytes is None or self._weight_bytes <= cache_bytes
        return None if in_cache else float(iterations * self._weight_bytes)


def _quality(session: Session, scoring: ScoringConfig, windows: ScoringWindows, nats: list[float]) -> dict[str, Any]:
    tokens_by_window = [int(count) for count in (windows.targets != IGNORED).sum(axis=1)]
    total, tokens = sum(nats), windows.scored_tokens
    interval = ratio_interval(nats, tokens_by_window, session.config.seed)
    return {
        "cross_entropy_nats": total / tokens,
        "perplexity": perplexity(total, tokens),
        "perplexity_ci_low": perplexity(interval.low, 1) if interval else None,
        "perplexity_ci_high": perplexity(interval.high, 1) if interval else None,
        "word_perplexity": perplexity(total, windows.text_words),
        "byte_perplexity": perplexity(total, windows.text_bytes),
        "bits_per_byte": bits_per_byte(total, windows.text_bytes),
        "scored_tokens": tokens,
        "text_bytes": windows.text_bytes,
        "text_words": windows.text_words,
        "protocol": {
            "split": scoring.split,
            "context": windows.inputs.shape[1],
            "stride": scoring.stride or windows.inputs.shape[1],
            "documents": "packed, each after a separator that is context and is not scored",
            "tokenizer": session.model.tokenizer.name,
            "interval": "95 % percentile bootstrap over windows",
        },
    }
