"""Summaries of documents."""

from __future__ import annotations

from collections.abc import Sequence

from harness.applications.application import Grade, Question, Reply
from harness.config.applications import SummarisationTaskConfig
from harness.data.examples import example_set
from harness.metrics.rouge import rouge
from harness.runner.session import Session


class Summarisation:
    """Documents, each with a summary."""

    stops = ("\n",)
    samples = 1
    reads_references = False

    def __init__(self, config: SummarisationTaskConfig) -> None:
        self._config = config

    def questions(self, session: Session) -> list[Question]:
        """A document each; a long one loses its end."""
        examples = example_set(session.corpus, ("document", "summary"), self._config.name).examples
        tokenizer, longest = session.model.tokenizer, self._config.document_tokens
        taken = examples[: self._config.examples]
        cut = tokenizer.decode([row[:longest] for row in tokenizer.encode([each["document"] for each in taken])])
        return [
            Question(f"{document}\n\nSummary:", example["summary"], example=example)
            for document, example in zip(cut, taken, strict=True)
        ]

    def grade(self, questions: Sequence[Question], replies: Sequence[Reply], seed: int) -> Grade:
        """ROUGE-1, ROUGE-2 and ROUGE-L."""
        texts = [reply.texts[0].strip() for reply in replies]
        return Grade(rouge(texts, [question.reference for question in questions], seed))
