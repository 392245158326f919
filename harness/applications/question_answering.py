"""Questions, with free answers or with choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.applications.application import Grade, Question, Reply
from harness.config.applications import QuestionAnsweringTaskConfig
from harness.data.examples import example_set
from harness.errors import UserError
from harness.metrics.answers import exact_match, f1
from harness.runner.session import Session
from harness.stats.intervals import share_interval


class QuestionAnswering:
    """Questions: one with choices is answered by its likeliest choice, another by a text."""

    stops = ("\n",)
    samples = 1
    reads_references = False

    def __init__(self, config: QuestionAnsweringTaskConfig) -> None:
        self._config = config

    def questions(self, session: Session) -> list[Question]:
        """A question each."""
        examples = example_set(session.corpus, ("question",), self._config.name).examples
        return [self._question(example) for example in examples[: self._config.examples]]

    def _question(self, example: Mapping[str, Any]) -> Question:
        context = f"{example['context']}\n\n" if example.get("context") else ""
        prompt = f"{context}Question: {example['question']}\nAnswer:"
        if "choices" in example:
            choices = tuple(f" {choice}" for choice in example["choices"])
            return Question(prompt, choices[right_choice(example)], choices, example)
        if not example.get("answers"):
            raise UserError(
                f"task={self._config.name}: the question {example['question']!r} has neither answers nor choices",
                remedy="give each a list of right answers, or choices and the index of the right one",
            )
        return Question(prompt, str(example["answers"][0]), example=example)

    def grade(self, questions: Sequence[Question], replies: Sequence[Reply], seed: int) -> Grade:
        """Accuracy of choices; exact match and F1 of texts."""
        pairs = list(zip(questions, replies, strict=True))
        chosen = [float(reply.texts[0] == question.reference) for question, reply in pairs if question.choices]
        written = [(reply.texts[0], question.example["answers"]) for question, reply in pairs if not question.choices]
        exact = [exact_match(*pair) for pair in written]
        quality = {
            **_mean("accuracy", chosen, seed),
            **_mean("exact_match", exact, seed),
            **_mean("answer_f1", [f1(*pair) for pair in written], seed),
        }
        return Grade(quality, sum(chosen) + sum(exact))


def right_choice(example: Mapping[str, Any]) -> int:
    """Index of the right choice; `right` is it, or one of `labels`.

    Raises:
        UserError: If it is neither.
    """
    right, labels = example.get("right"), list(example.get("labels") or range(len(example["choices"])))
    if right not in labels:
        raise UserError(
            f"the question {example['question']!r} has no right choice: right={right!r}", allowed=list(map(str, labels))
        )
    return labels.index(right)


def _mean(name: str, values: Sequence[float], seed: int) -> dict[str, float | None]:
    if not values:
        return {}
    interval = share_interval(list(values), seed)
    return {
        name: sum(values) / len(values),
        f"{name}_ci_low": interval.low if interval else None,
        f"{name}_ci_high": interval.high if interval else None,
    }
