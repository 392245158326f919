"""Programs that must pass tests."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.applications.application import Grade, Question, Reply
from harness.applications.sandbox import run_program
from harness.config.applications import CodeGenerationTaskConfig
from harness.data.examples import example_set
from harness.metrics.answers import pass_at_k
from harness.runner.session import Session
from harness.stats.intervals import share_interval


def whole_program(prompt: str, answer: str) -> str:
    """The program that an answer completes; an answer in a Markdown fence, as chat models give it, is one by itself."""
    fenced = re.search(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", answer, re.DOTALL)
    return prompt + answer if fenced is None else f"{prompt}    pass\n\n{fenced[1]}"


class CodeGeneration:
    """Problems: a function's head and description, to be completed, and tests that call it."""

    # What comes after the function, as in the paper (section 2.3 of Chen et al. 2021).
    stops = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
    reads_references = False

    def __init__(self, config: CodeGenerationTaskConfig) -> None:
        self._config = config
        self.samples = config.samples

    def questions(self, session: Session) -> list[Question]:
        """A problem each."""
        fields = ("prompt", "test", "entry_point")
        examples = example_set(session.corpus, fields, self._config.name).examples
        return [
            Question(example["prompt"], example.get("canonical_solution", ""), example=example)
            for example in examples[: self._config.examples]
        ]

    def grade(self, questions: Sequence[Question], replies: Sequence[Reply], seed: int) -> Grade:
        """pass@k, and why programs failed."""
        verdicts = [
            [self._run(question, text) for text in reply.texts]
            for question, reply in zip(questions, replies, strict=True)
        ]
        passed = [verdict.count("passed") for verdict in verdicts]
        values = [pass_at_k(self.samples, count, self._config.k) for count in passed]
        interval = share_interval(values, seed)
        reasons = [reason for verdict in verdicts for reason in verdict]
        quality = {
            "pass_at_k": sum(values) / len(values),
            "pass_at_k_ci_low": interval.low if interval else None,
            "pass_at_k_ci_high": interval.high if interval else None,
            "verdicts": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        }
        return Grade(quality, float(sum(passed)))

    def _run(self, question: Question, text: str) -> str:
        example = question.example
        program = f"{whole_program(example['prompt'], text)}\n{example['test']}\ncheck({example['entry_point']})\n"
        return run_program(program, self._config.timeout_s, self._config.memory_bytes)
