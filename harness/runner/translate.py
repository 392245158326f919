"""Translating under the meter: whole sentences, encoder and decoder together, as the phase `translate`."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl

from harness.energy.meter import Work
from harness.models.seq2seq import EncoderDecoder
from harness.runner.batches import Batch, ScoringBatches
from harness.runner.repeats import repeat_until_precise
from harness.runner.score import Scorer
from harness.runner.session import Session


class TranslationModule(pl.LightningModule):
    """Translates the sources of each batch.

    Args:
        network: The model.
    """

    def __init__(self, network: EncoderDecoder) -> None:
        super().__init__()
        self.network = network
        self.rows: list[list[int]] = []  # target tokens of each source

    def on_test_start(self) -> None:
        """Forget what an earlier pass left."""
        self.rows = []

    def test_step(self, batch: Batch, index: int) -> None:
        """Keep the translations of a batch."""
        (source,), _ = batch
        self.rows.extend(self.network.translate(source))


def translate_batches(
    session: Session, module: TranslationModule, batches: Sequence[Batch]
) -> tuple[list[list[int]], str]:
    """Warm up, translate everything once for its quality, then repeat part of it for its cost.

    Returns:
        Target tokens of each source, in order; and why the repeats stopped.
    """
    samples = [Work(iterations=1, samples=len(targets)) for _, targets in batches]
    first = Scorer(session, module, ScoringBatches(batches, samples, None), "translate")
    first.warm_up()
    first.whole_text()
    rows, start, work = module.rows, 0, []
    for _, targets in batches:
        # Each output ends with a token that is no part of it.
        tokens = sum(len(row) + 1 for row in rows[start : start + len(targets)])
        work.append(Work(iterations=1, samples=len(targets), tokens=tokens))
        start += len(targets)
    scorer = Scorer(session, module, ScoringBatches(batches, work, None), "translate")
    return rows, repeat_until_precise(session.config.protocol, scorer.repeat)
