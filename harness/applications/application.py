"""What an application is: questions to a model, and grades of what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.runner.session import Session


@dataclass(frozen=True)
class Question:
    """One example, as the model is asked.

    Attributes:
        prompt: What it goes on from.
        reference: What a person gave, or the right choice.
        choices: Answers to choose from, by their likelihood; none where a text is to be made.
        example: The example that it comes from.
    """

    prompt: str
    reference: str = ""
    choices: tuple[str, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What the model answered.

    Attributes:
        texts: Its answers, one a sample; or the choice that it made.
        reference_nats: Negative log-likelihood of the reference, where the application asks for it.
        reference_tokens: Tokens of the reference.
    """

    texts: tuple[str, ...]
    reference_nats: float | None = None
    reference_tokens: int = 0


@dataclass(frozen=True)
class Grade:
    """How good the answers are.

    Attributes:
        quality: Metrics by name.
        correct: How many are right; None where none simply is.
    """

    quality: Mapping[str, Any]
    correct: float | None = None


class Application(Protocol):
    """Questions and grades.

    Attributes:
        stops: Strings that end an answer.
        samples: Answers to each question.
        reads_references: Whether the likelihood of the references is asked for.
    """

    stops: Sequence[str]
    samples: int
    reads_references: bool

    def questions(self, session: Session) -> list[Question]:
        """What the model is asked, in order.

        Raises:
            UserError: If the data has not what the application needs.
        """
        ...

    def grade(self, questions: Sequence[Question], replies: Sequence[Reply], seed: int) -> Grade:
        """How good the answers are; intervals are bootstraps over examples."""
        ...
