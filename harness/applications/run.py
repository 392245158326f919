"""A run of an application: every example is answered once under the meter, then graded outside of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from harness.applications.application import Application, Question, Reply
from harness.config.applications import ApplicationConfig
from harness.data.cache import atomic_path
from harness.errors import UserError
from harness.load import find
from harness.models.generation import Generator, sampler
from harness.runner.answering import complete, generating, generator_of, likelihoods
from harness.runner.portions import Portions
from harness.runner.session import Session, TaskOutcome

PHASE, REFERENCE = "answer", "reference"
Rows = list[list[int]]


def run_application(session: Session) -> TaskOutcome:
    """Ask, answer, grade.

    Raises:
        UserError: If the model does not generate, or the data has not what the application needs.
    """
    task, network = session.config.task, generator_of(session)
    assert isinstance(task, ApplicationConfig)
    application: Application = find(task.application)(task)
    asked = application.questions(session)
    if not asked:
        raise UserError(f"task={task.name}: the data has no example that can be asked")
    network.to(session.config.hardware.accelerator)
    portions = Portions(session, PHASE)
    with generating(session, network):
        _warm_up(session, application, network, asked)
        replies = answer(session, application, network, portions, asked)
        references = Portions(session, REFERENCE)
        read = _read_references(session, application, network, references, asked)
    replies = [replace(reply, **read.get(number, {})) for number, reply in enumerate(replies)]
    session.progress("grade", 0, None)
    grade = application.grade(asked, replies, session.config.seed)
    _keep(session, asked, replies)
    return TaskOutcome(
        dict(grade.quality), {PHASE: "every example once"}, answers=portions.costs(len(asked), grade.correct)
    )


def _warm_up(session: Session, application: Application, network: Generator, asked: Sequence[Question]) -> None:
    """The first batch, over and over, for as long as the protocol warms up."""
    protocol, started, rounds = session.config.protocol, time.perf_counter(), 0
    portions = Portions(session, "warmup", measured=False)
    while not rounds or rounds < protocol.warmup_iterations or time.perf_counter() - started < protocol.warmup_s:
        answer(session, application, network, portions, asked[: session.config.batch_size])
        rounds += session.config.task.output_tokens  # type: ignore[union-attr]


def answer(
    session: Session, application: Application, network: Generator, portions: Portions, asked: Sequence[Question]
) -> list[Reply]:
    """What the model answers to each question."""
    chosen = _choose(session, network, portions, asked)
    written = _write(session, application, network, portions, asked)
    return [Reply((chosen[number],) if question.choices else written[number]) for number, question in enumerate(asked)]


def _choose(session: Session, network: Generator, portions: Portions, asked: Sequence[Question]) -> dict[int, str]:
    """The likeliest choice of each question that has some, by the mean over its tokens."""
    pairs = [(number, choice) for number, question in enumerate(asked) for choice in question.choices]
    contexts = prompt_rows(session, [asked[number].prompt for number, _ in pairs])
    wanted = _rows(session, [choice for _, choice in pairs])
    found = likelihoods(session, network, portions, list(zip(contexts, wanted, strict=True))) if pairs else []
    best: dict[int, tuple[float, str]] = {}
    for (number, choice), likelihood in zip(pairs, found, strict=True):
        mean = likelihood.nats / likelihood.tokens
        best[number] = max(best.get(number, (-float("inf"), "")), (mean, choice), key=lambda pair: pair[0])
    return {number: choice for number, (_, choice) in best.items()}


def _write(
    session: Session, application: Application, network: Generator, portions: Portions, asked: Sequence[Question]
) -> dict[int, tuple[str, ...]]:
    """The texts of each question without choices, `samples` of each."""
    task = session.config.task
    assert isinstance(task, ApplicationConfig)
    numbers = [number for number, question in enumerate(asked) if not question.choices]
    if not numbers:
        return {}
    rows = prompt_rows(session, [asked[number].prompt for number in numbers])
    rows = [row for row in rows for _ in range(application.samples)]
    longest = max(len(row) for row in rows)
    if longest + task.output_tokens > session.model.context_length:
        raise UserError(
            f"a prompt of {longest} tokens and task.output_tokens={task.output_tokens} are more than the "
            f"{session.model.context_length} tokens that {session.config.model.label} reads",
            remedy="use fewer tokens or examples in a prompt, or a model with a longer context",
        )
    choose = sampler(task.sampling, session.config.seed, torch.device(session.config.hardware.accelerator))
    texts = complete(session, network, portions, rows, task.output_tokens, choose, application.stops, lenient=True)
    each = application.samples
    return {
        number: tuple(completion.text for completion in texts[place * each : (place + 1) * each])
        for place, number in enumerate(numbers)
    }


def _read_references(
    session: Session, application: Application, network: Generator, portions: Portions, asked: Sequence[Question]
) -> dict[int, dict[str, Any]]:
    """How likely the model finds the references, where that is asked for: quality, and no part of answering."""
    if not application.reads_references:
        return {}
    contexts = prompt_rows(session, [question.prompt for question in asked])
    wanted = _rows(session, [question.reference for question in asked])
    found = likelihoods(session, network, portions, list(zip(contexts, wanted, strict=True)))
    return {
        number: {"reference_nats": -likelihood.nats, "reference_tokens": likelihood.tokens}
        for number, likelihood in enumerate(found)
    }


def prompt_rows(session: Session, prompts: Sequence[str]) -> Rows:
    """Token ids of prompts, in the model's chat template where the task asks for it.

    Raises:
        UserError: If the tokenizer has no chat template.
    """
    task, tokenizer = session.config.task, session.model.tokenizer
    assert isinstance(task, ApplicationConfig)
    if not task.chat:
        return [[*tokenizer.prompt_start, *row] for row in _rows(session, prompts)]
    if tokenizer.chat is None:
        raise UserError(f"task.chat=true: the tokenizer of {session.config.model.label} has no chat template")
    return [tokenizer.chat(prompt) for prompt in prompts]


def _rows(session: Session, texts: Sequence[str]) -> Rows:
    return session.model.tokenizer.encode(texts) if texts else []


def _keep(session: Session, asked: Sequence[Question], replies: Sequence[Reply]) -> None:
    """Write prompts, answers and references to answers.jsonl."""
    with atomic_path(session.folder / "answers.jsonl") as temporary:
        rows = (
            {"prompt": question.prompt, "answers": reply.texts, "reference": question.reference}
            for question, reply in zip(asked, replies, strict=True)
        )
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
