"""How a batch of prompts is answered: the cache filled once, then token after token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from harness.data.prompts import PromptBatch
from harness.energy.meter import Work
from harness.errors import UserError
from harness.metrics.flops import TransformerShape
from harness.models.generation import Choice, Generator
from harness.runner.portions import Portions
from harness.runner.session import Session

# How often a text is looked through for the strings that end it, in tokens.
_LOOK_EVERY = 8


def generator_of(session: Session) -> Generator:
    """The session's network, as one that generates.

    Raises:
        UserError: If it is none.
    """
    network = session.model.network
    if not isinstance(network, Generator):
        raise UserError(
            f"task={session.config.task.name}: {session.config.model.label} does not continue a text",
            remedy="use a causal language model: gpt-*, smollm2-135m, or model=hub with model.learns=causal",
        )
    return network


@contextmanager
def generating(session: Session, network: Generator) -> Iterator[None]:
    """No gradients, no dropout, and the cell's precision."""
    network.eval()
    precision = session.trainer([]).precision_plugin
    with torch.inference_mode(), precision.forward_context():
        yield


Stopped = Callable[[list[list[int]]], list[bool]]


class Answer:
    """One batch of prompts on its way to its outputs.

    Args:
        network: Answers.
        batch: The prompts, on the network's device.
        most: Tokens that each gets at most.
        choose: Next tokens from logits.
        fixed: Whether the cache has its whole size from the start, as compiled steps need it.
    """

    def __init__(self, network: Generator, batch: PromptBatch, most: int, choose: Choice, fixed: bool = False) -> None:
        self._network = network
        self._batch = batch
        self._capacity = batch.length + most
        self._most = most
        self._fixed = fixed
        self._choose = choose

    def start(self) -> None:
        """Read the prompts and choose the first token of each."""
        batch = self._batch
        logits, self._cache = self._network.prefill(batch.ids_BT, batch.padding_B, self._capacity, self._fixed)
        self._first = self._last = self._choose(logits)

    def go_on(self, steps: int) -> None:
        """Choose so many further tokens of each."""
        for _ in range(steps):
            self._last = self._choose(self._network.step(self._last, self._cache))

    def rewind(self) -> None:
        """Back to the first token of each."""
        self._cache.rewind()
        self._last = self._first

    def until_all_end(self, end_ids: Sequence[int], stopped: Stopped | None = None) -> list[list[int]]:
        """Output tokens of each prompt, up to its end.

        Args:
            end_ids: Ids that end a text.
            stopped: Tells of rows so far which texts have ended otherwise; asked now and then.
        """
        self.start()
        self.made = 1  # tokens of each, the end included
        columns = [self._first]
        ends = torch.tensor(end_ids, device=self._first.device)
        ended = torch.isin(self._first, ends)
        while len(columns) < self._most and not bool(ended.all()):
            self.go_on(1)
            self.made += 1
            columns.append(self._last)
            ended |= torch.isin(self._last, ends)
            if stopped is not None and len(columns) % _LOOK_EVERY == 0:
                rows = [until_end(row, end_ids) for row in torch.stack(columns, dim=1).tolist()]
                ended |= torch.tensor(stopped(rows), device=ended.device)
        return [until_end(row, end_ids) for row in torch.stack(columns, dim=1).tolist()]

    @property
    def position_bytes(self) -> int:
        """Bytes of keys and values of one position of one sequence."""
        return self._cache.position_bytes

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values."""
        return self._cache.nbytes


def until_end(row: Sequence[int], end_ids: Sequence[int]) -> list[int]:
    """The tokens before the first that ends a text."""
    ends = [place for place, token in enumerate(row) if token in end_ids]
    return list(row[: ends[0]] if ends else row)


@dataclass(frozen=True)
class Completion:
    """What a model added to a prompt.

    Attributes:
        text: Up to the first stop.
        tokens: Tokens that were made for it, those behind a stop included.
    """

    text: str
    tokens: int


def complete(
    session: Session,
    network: Generator,
    portions: Portions,
    rows: Sequence[Sequence[int]],
    most: int,
    choose: Choice,
    stops: Sequence[str] = (),
    lenient: bool = False,
) -> list[Completion]:
    """Go on from prompts under the meter, longest first, each until its end or a stop; in their own order.

    Args:
        session: Gives the tokenizer and the batch size.
        network: Goes on.
        portions: Meters it.
        rows: Token ids of each prompt.
        most: Tokens that each gets at most.
        choose: Next tokens from logits.
        stops: Strings that end a text, and are no part of it.
        lenient: Whether a line may end before the text has begun.
    """
    tokenizer, size = session.model.tokenizer, session.config.batch_size
    device = torch.device(session.config.hardware.accelerator)
    shape = session.model.shape
    assert isinstance(shape, TransformerShape), "what continues a text is one stack"
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
    found: dict[int, Completion] = {}

    def stopped(outputs: list[list[int]]) -> list[bool]:
        return [len(until_stop(text, stops, lenient)) < len(text) for text in tokenizer.decode(outputs)]

    def answer(numbers: Sequence[int]) -> Work:
        batch = PromptBatch.of([rows[number] for number in numbers], tokenizer.separator_id).to(device)
        answering = Answer(network, batch, most, choose)
        outputs = answering.until_all_end(tokenizer.end_ids, stopped if stops else None)
        for number, output, text in zip(numbers, outputs, tokenizer.decode(outputs), strict=True):
            found[number] = Completion(until_stop(text, stops, lenient), len(output))
        flops = sum(
            shape.prefill_flops(1, length) + shape.step_flops(1, length, answering.made - 1) for length in batch.lengths
        )
        return Work(iterations=1, samples=batch.rows, tokens=sum(map(len, outputs)), flops=float(flops))

    portions.over([order[start : start + size] for start in range(0, len(order), size)], answer)
    return [found[number] for number in range(len(rows))]


def until_stop(text: str, stops: Sequence[str], lenient: bool = False) -> str:
    """The text before the first stop in it; where lenient, a stop of white space ends nothing that has not begun."""
    begun = len(text) - len(text.lstrip()) if lenient else 0
    places = [text.find(stop, 0 if stop.strip() else begun) for stop in stops]
    return text[: min((place for place in places if place >= 0), default=len(text))]


@dataclass(frozen=True)
class Likelihood:
    """Of a continuation.

    Attributes:
        nats: Its log-likelihood.
        tokens: Its tokens.
        greedy: Whether each of them is the likeliest there.
    """

    nats: float
    tokens: int
    greedy: bool


def likelihoods(
    session: Session, network: Generator, portions: Portions, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> list[Likelihood]:
    """Likelihood of each continuation after its context, under the meter, longest first; in their own order.

    A context that is too long loses its beginning; what follows it must fit.

    Args:
        session: Gives context length and batch size.
        network: Reads them.
        portions: Meters it.
        pairs: Token ids of a context and of what follows it, both with at least one.

    Raises:
        UserError: If what follows is longer than the model reads.
    """
    longest, device = session.model.context_length, torch.device(session.config.hardware.accelerator)
    most = max(len(wanted) for _, wanted in pairs)
    if most > longest:
        raise UserError(
            f"a continuation of {most} tokens is more than the {longest} that {session.config.model.label} reads",
            remedy="leave that example out, or use a model with a longer context",
        )
    rows = [[*context, *wanted][-(longest + 1) :] for context, wanted in pairs]
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
    found: dict[int, Likelihood] = {}

    def read(numbers: Sequence[int]) -> Work:
        batch = [rows[number] for number in numbers]
        width = len(batch[0])
        filled = torch.tensor([row[:-1] + [0] * (width - len(row)) for row in batch], device=device)
        for number, row, logits in zip(numbers, batch, network(filled), strict=True):
            found[number] = _likelihood(logits[: len(row) - 1], row[1:], len(pairs[number][1]))
        flops = float(sum(session.model.shape.forward_flops(1, (len(row) - 1,)) for row in batch))
        return Work(iterations=1, samples=len(batch), tokens=sum(len(row) - 1 for row in batch), flops=flops)

    size = session.config.batch_size
    portions.over([order[start : start + size] for start in range(0, len(order), size)], read)
    return [found[number] for number in range(len(rows))]


def _likelihood(logits: torch.Tensor, following: Sequence[int], count: int) -> Likelihood:
    """Of the last `count` tokens, from the logits (T, V) before each of `following` (T)."""
    log_p = torch.log_softmax(logits[-count:].float(), dim=-1)
    wanted = torch.tensor(following[-count:], device=log_p.device)
    nats = float(log_p.gather(1, wanted[:, None]).sum())
    return Likelihood(nats, count, bool((log_p.argmax(dim=-1) == wanted).all()))
