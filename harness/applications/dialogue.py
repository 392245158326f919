"""The next turn of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from harness.applications.application import Grade, Question, Reply
from harness.config.applications import DialogueTaskConfig
from harness.data.corpus import require_documents, text_corpus
from harness.metrics.answers import distinct
from harness.metrics.language import perplexity
from harness.metrics.translation import translation_quality
from harness.runner.session import Session
from harness.stats.intervals import ratio_interval

SPEAKERS = "AB"


class Dialogue:
    """Conversations of the test split up to their last turn, which is the reference."""

    stops = ("\n",)
    samples = 1
    reads_references = True

    def __init__(self, config: DialogueTaskConfig) -> None:
        self._config = config

    def questions(self, session: Session) -> list[Question]:
        """A conversation each; its turns are its lines, and two speakers take turns."""
        documents = require_documents(text_corpus(session.corpus), "test")
        conversations = [document.split("\n") for document in documents if "\n" in document]
        return [self._question(turns) for turns in conversations[: self._config.examples]]

    def _question(self, turns: Sequence[str]) -> Question:
        seen = list(turns[-self._config.turns - 1 : -1])
        lines = [f"{SPEAKERS[number % 2]}: {turn}" for number, turn in enumerate(seen)]
        return Question("\n".join([*lines, f"{SPEAKERS[len(seen) % 2]}:"]), f" {turns[-1]}")

    def grade(self, questions: Sequence[Question], replies: Sequence[Reply], seed: int) -> Grade:
        """Perplexity of the references; of the replies BLEU and chrF, distinct-1 and -2, and words a reply."""
        nats = [reply.reference_nats or 0.0 for reply in replies]
        tokens = [reply.reference_tokens for reply in replies]
        interval = ratio_interval(nats, tokens, seed)
        texts = [reply.texts[0].strip() for reply in replies]
        return Grade(
            {
                "perplexity": perplexity(sum(nats), sum(tokens)),
                "perplexity_ci_low": perplexity(interval.low, 1) if interval else None,
                "perplexity_ci_high": perplexity(interval.high, 1) if interval else None,
                "scored_tokens": sum(tokens),
                **translation_quality(texts, [question.reference.strip() for question in questions]),
                "distinct_1": distinct(texts, 1),
                "distinct_2": distinct(texts, 2),
                "words_per_reply": sum(len(text.split()) for text in texts) / len(texts),
            }
        )
