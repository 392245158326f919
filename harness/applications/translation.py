"""Translation by a language model, from examples in its prompt."""

from __future__ import annotations

from collections.abc import Sequence

from harness.applications.application import Grade, Question, Reply
from harness.config.applications import TranslationTaskConfig
from harness.data.parallel import SOURCE, TARGET, parallel_corpus, require_pairs
from harness.metrics.translation import translation_quality
from harness.runner.session import Session

LANGUAGES = {"de": "German", "en": "English", "es": "Spanish", "fr": "French", "pt": "Portuguese", "ro": "Romanian"}


class Translation:
    """Sentences of the test split, after some translated ones of the training split."""

    stops = ("\n",)
    samples = 1
    reads_references = False

    def __init__(self, config: TranslationTaskConfig) -> None:
        self._config = config

    def questions(self, session: Session) -> list[Question]:
        """A sentence each."""
        corpus = parallel_corpus(session.corpus)
        names = corpus.provenance.get("language", "").split("-")
        source, target = (LANGUAGES.get(name, f"Language {name}") for name in (names if len(names) == 2 else "AB"))
        shots = corpus.splits["train"][: self._config.shots]
        shown = "".join(f"{source}: {pair[SOURCE]}\n{target}: {pair[TARGET]}\n\n" for pair in shots)
        pairs = require_pairs(corpus, "test")[: self._config.examples]
        return [Question(f"{shown}{source}: {pair[SOURCE]}\n{target}:", pair[TARGET]) for pair in pairs]

    def grade(self, questions: Sequence[Question], replies: Sequence[Reply], seed: int) -> Grade:
        """BLEU and chrF."""
        texts = [reply.texts[0].strip() for reply in replies]
        return Grade(translation_quality(texts, [question.reference for question in questions]))
