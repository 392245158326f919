"""Task `generate`: text from prompts, phase by phase.

Prompts are answered `batch_size` at a time. Three phases are measured, each in windows of its own: `prefill` reads the
prompts, `decode` holds nothing but decoding steps (the prompts are read before its windows open), and `request` is
both, as users wait for it. What a request produces is kept once in generations.jsonl.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from harness.config.task import GenerateTaskConfig
from harness.data.cache import atomic_path
from harness.data.corpus import require_documents, text_corpus
from harness.data.files import read_prompts
from harness.data.prompts import PromptBatch, prompts_of_length, prompts_of_texts
from harness.energy.cuda import synchronize
from harness.energy.meter import Window, Work
from harness.energy.segments import energy_over
from harness.energy.validity import EXCLUDED
from harness.errors import UserError
from harness.metrics.efficiency import complete_sum, ratio
from harness.metrics.flops import TransformerShape
from harness.models.generation import Choice, Generator, sampler
from harness.record.windows import write_frame
from harness.runner.answering import Answer, generating, generator_of
from harness.runner.batches import WorkSums
from harness.runner.module import LanguageModule
from harness.runner.peaks import reset_peaks
from harness.runner.repeats import repeat_in_turn
from harness.runner.session import Session, TaskOutcome

PERCENTILES = (50, 90, 99)


def run_generate(session: Session) -> TaskOutcome:
    """Score the held-out text, then answer prompts.

    Raises:
        UserError: If the model does not generate, or prompts and outputs do not fit it.
    """
    task, network = session.config.task, generator_of(session)
    assert isinstance(task, GenerateTaskConfig)
    batches, count = prompt_batches(session, task)
    scored = TaskOutcome({}, {})
    if task.score:
        scored = session.objective.score(session, LanguageModule(network), task.scoring)
    device = torch.device(session.config.hardware.accelerator)
    network.to(device)  # Lightning has put it back into the host's memory.
    with generating(session, network):
        reset_peaks()  # Those of loading and scoring are no part of what generating needs.
        requests = Requests(session, task, network, [batch.to(device) for batch in batches])
        requests.warm_up()
        requests.keep_outputs(count)
        reasons = requests.measure()
    facts = {**requests.sizes(count), **latencies(requests.timings), **request_costs(session.meter.windows, requests)}
    write_frame(session.folder / "requests.parquet", [asdict(timing) for timing in requests.timings])
    return TaskOutcome(scored.quality, {**scored.stop_reasons, **reasons}, generation=facts)


def prompt_batches(session: Session, task: GenerateTaskConfig) -> tuple[list[PromptBatch], int]:
    """The prompts in batches of the cell's size, and how many prompts there are.

    Raises:
        UserError: If there is none, or one does not fit the model with its output.
    """
    model = session.model
    rows = prompts(session, task)
    longest = max(len(row) for row in rows)
    if longest + task.output_tokens > model.context_length:
        raise UserError(
            f"a prompt of {longest} tokens and task.output_tokens={task.output_tokens} are more than the "
            f"{model.context_length} tokens that {session.config.model.label} reads",
            remedy="use fewer of either",
        )
    size = session.config.batch_size
    # Every batch is whole: where prompts are too few, the first ones are asked again.
    whole = [rows[number % len(rows)] for number in range(-(-len(rows) // size) * size)]
    filler = model.tokenizer.separator_id
    batches = [PromptBatch.of(whole[start : start + size], filler) for start in range(0, len(whole), size)]
    return batches, len(rows)


def prompts(session: Session, task: GenerateTaskConfig) -> list[list[int]]:
    """Token ids of every prompt.

    Raises:
        UserError: If there is none, or one is empty.
    """
    tokenizer, split = session.model.tokenizer, task.scoring.split
    if task.prompt is not None or task.prompts is not None:
        texts = [task.prompt] if task.prompt is not None else read_prompts(task.prompts or "")
        return prompts_of_texts(texts, tokenizer)
    documents = require_documents(text_corpus(session.corpus), split)
    return prompts_of_length(documents, tokenizer, task.requests, task.prompt_tokens, split)


@dataclass(frozen=True)
class Timing:
    """What the users of one batch of requests waited for.

    Attributes:
        repeat: Measured window.
        requests: Requests of the batch, all answered in step.
        time_to_first_token_s: From the start to the first token.
        inter_token_latencies_s: Seconds from each token to the next.
    """

    repeat: int
    requests: int
    time_to_first_token_s: float
    inter_token_latencies_s: tuple[float, ...]

    @property
    def request_latency_s(self) -> float:
        """From the start to the last token."""
        return self.time_to_first_token_s + sum(self.inter_token_latencies_s)

    @property
    def time_per_output_token_s(self) -> float:
        """Mean seconds from one token to the next."""
        return sum(self.inter_token_latencies_s) / len(self.inter_token_latencies_s)


class Requests:
    """Batches of prompts, and how they are answered.

    Args:
        session: Gives the meter and the protocol.
        task: Lengths, sampling.
        network: Answers.
        batches: The prompts, on the network's device.
    """

    def __init__(
        self, session: Session, task: GenerateTaskConfig, network: Generator, batches: Sequence[PromptBatch]
    ) -> None:
        self._session = session
        self._meter = session.meter
        self._protocol = session.config.protocol
        self._task = task
        self._network = network
        self._batches = batches
        assert isinstance(session.model.shape, TransformerShape), "what continues a text is one stack"
        self._shape = session.model.shape
        self._served = 0
        self._cache_bytes = 0
        self.prompt_tokens: dict[int, int] = {}  # of the requests that each repeat answered
        self.timings: list[Timing] = []
        if network.compiled:
            self._compile()

    def _compile(self) -> None:
        """The first decoding step of each shape, which compiles it, in a window of its own."""
        self._session.progress("compile", 0, None)
        with self._meter.window("compile"):
            shapes = {(batch.rows, batch.length, batch.padding_B is None): batch for batch in self._batches}
            for batch in shapes.values():
                answer = self._answer(batch)
                answer.start()
                answer.go_on(2)
                answer.rewind()
                answer.go_on(2)

    def warm_up(self) -> None:
        """Whole requests, until there were as many passes and seconds as the protocol wants."""
        self._session.progress("warmup", 0, None)
        with self._meter.window("warmup") as window:
            started, passes = time.perf_counter(), 0
            while passes == 0 or passes < self._protocol.warmup_iterations or _since(started) < self._protocol.warmup_s:
                _, answer = self._answer_all(self._next_batch())
                passes += self._task.output_tokens
                self._cache_bytes = max(self._cache_bytes, answer.cache_bytes)
            window.work = Work(iterations=passes)

    def keep_outputs(self, count: int) -> None:
        """Answer each of `count` prompts once and keep the texts; here the end-of-text token ends them."""
        tokenizer = self._session.model.tokenizer
        rows: list[dict[str, Any]] = []
        with self._meter.window("generate"):
            for number, batch in enumerate(self._batches, start=1):
                self._session.progress("generate", number, len(self._batches))
                answer = self._answer(batch)
                outputs = answer.until_all_end(tokenizer.end_ids)
                texts = zip(tokenizer.decode(unpadded(batch)), tokenizer.decode(outputs), outputs, strict=True)
                rows += [{"prompt": prompt, "output": text, "tokens": len(ids)} for prompt, text, ids in texts]
        with atomic_path(self._session.folder / "generations.jsonl") as temporary:
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:count]]
            temporary.write_text("".join(lines), encoding="utf-8")

    def measure(self) -> dict[str, str]:
        """Repeat the phases in turn until each is known well enough; returns why each stopped."""
        phases: dict[str, Callable[[int], Window]] = {
            "prefill": self._prefill,
            "decode": self._decode,
            "request": self._request,
        }
        return repeat_in_turn(self._protocol, phases)

    def _prefill(self, repeat: int) -> Window:
        """Read one batch after the other."""
        done = WorkSums()
        with self._window("prefill", repeat) as (window, elapsed_s):
            while elapsed_s() < self._protocol.window_s or not len(done):
                batch = self._next_batch()
                self._answer(batch).start()
                synchronize()
                done.append(self._prefill_work(batch))
            window.work = done.between(0, len(done))
        return self._meter.windows[-1]

    def _decode(self, repeat: int) -> Window:
        """Go on from one batch's prompts, over and over."""
        batch, steps = self._next_batch(), self._task.output_tokens - 1
        answer = self._answer(batch)
        answer.start()
        done, work = WorkSums(), self._decode_work(batch, steps, answer.position_bytes)
        with self._window("decode", repeat) as (window, elapsed_s):
            while elapsed_s() < self._protocol.window_s or not len(done):
                answer.go_on(steps)
                synchronize()
                answer.rewind()
                done.append(work)
            window.work = done.between(0, len(done))
        return self._meter.windows[-1]

    def _request(self, repeat: int) -> Window:
        """Answer one batch after the other, token by token as they would be handed to users."""
        done = WorkSums()
        with self._window("request", repeat) as (window, elapsed_s):
            while elapsed_s() < self._protocol.window_s or not len(done):
                batch = self._next_batch()
                times, _ = self._answer_all(batch)
                waits = tuple(float(wait) for wait in np.diff(times))
                self.timings.append(Timing(repeat, batch.rows, waits[0], waits[1:]))
                self.prompt_tokens[repeat] = self.prompt_tokens.get(repeat, 0) + batch.tokens
                done.append(Work(iterations=1, samples=batch.rows, tokens=batch.rows * self._task.output_tokens))
            window.work = done.between(0, len(done))
        return self._meter.windows[-1]

    def _answer_all(self, batch: PromptBatch) -> tuple[list[float], Answer]:
        """Answer a batch; the moments of its start and of each token, each handed over before the next is made."""
        answer = self._answer(batch)
        times = [time.perf_counter()]
        answer.start()
        synchronize()
        times.append(time.perf_counter())
        for _ in range(self._task.output_tokens - 1):
            answer.go_on(1)
            synchronize()
            times.append(time.perf_counter())
        return times, answer

    @contextmanager
    def _window(self, phase: str, repeat: int) -> Iterator[tuple[Any, Callable[[], float]]]:
        self._session.progress(phase, repeat, None)
        with self._meter.window(phase, repeat) as window:
            started = time.perf_counter()
            yield window, lambda: _since(started)

    def _next_batch(self) -> PromptBatch:
        self._served += 1
        return self._batches[(self._served - 1) % len(self._batches)]

    def _answer(self, batch: PromptBatch) -> Answer:
        return Answer(self._network, batch, self._task.output_tokens, self._choice(), self._network.compiled)

    def _choice(self) -> Choice:
        """The same draws for every answer."""
        return sampler(self._task.sampling, self._session.config.seed, self._batches[0].ids_BT.device)

    def _prefill_work(self, batch: PromptBatch) -> Work:
        flops = float(sum(self._shape.prefill_flops(1, length) for length in batch.lengths))
        return Work(iterations=1, samples=batch.rows, tokens=batch.tokens, flops=flops)

    def _decode_work(self, batch: PromptBatch, steps: int, position_bytes: int) -> Work:
        """Of `steps` steps after the first token. Each reads the weights, and the keys and values so far."""
        cache = self._session.config.hardware.cache_bytes
        weights = self._network.streamed_bytes()
        kept = sum(length + step for length in batch.lengths for step in range(1, steps + 1)) * position_bytes
        return Work(
            iterations=steps,
            samples=batch.rows,
            tokens=batch.rows * steps,
            flops=float(sum(self._shape.step_flops(1, length, steps) for length in batch.lengths)),
            # Weights that a cache may hold need not be read from memory.
            memory_bytes=None if cache is None or weights <= cache else float(weights * steps + kept),
        )

    def sizes(self, count: int) -> dict[str, Any]:
        """What the record says of the requests."""
        rows = sum(batch.rows for batch in self._batches)
        return {
            "requests": count,
            "prompt_tokens_mean": sum(batch.tokens for batch in self._batches) / rows,
            "output_tokens": self._task.output_tokens,
            "kv_cache_bytes": self._cache_bytes,
        }


def unpadded(batch: PromptBatch) -> list[list[int]]:
    """The prompts of a batch, without what fills them up."""
    padding = torch.zeros(batch.rows, dtype=torch.long) if batch.padding_B is None else batch.padding_B
    return [row[missing:] for row, missing in zip(batch.ids_BT.tolist(), padding.tolist(), strict=True)]


def request_costs(windows: Sequence[Window], requests: Requests) -> dict[str, float | None]:
    """Requests a second; and joules over prompt and output tokens, over the repeats that count."""
    whole = [window for window in windows if window.phase == "request" and window.repeat is not None]
    used = [window for window in whole if not EXCLUDED & set(window.flags)]
    read = sum(requests.prompt_tokens[window.repeat] for window in used if window.repeat is not None)
    answered = complete_sum([window.work.samples for window in used])
    joules = energy_over(used).value_j
    tokens = complete_sum([window.work.tokens for window in used])
    return {
        "requests_per_second": ratio(answered, sum(window.duration_s for window in used)),
        "joules_per_total_token": ratio(joules, None if tokens is None else tokens + read),
    }


def latencies(timings: Sequence[Timing]) -> dict[str, Any]:
    """Percentiles of what each request waited for, by linear interpolation between raw values."""
    by_name = {
        "time_to_first_token_s": [(timing.time_to_first_token_s, timing.requests) for timing in timings],
        "time_per_output_token_s": [(timing.time_per_output_token_s, timing.requests) for timing in timings],
        "request_latency_s": [(timing.request_latency_s, timing.requests) for timing in timings],
        "inter_token_latency_s": [
            (wait, timing.requests) for timing in timings for wait in timing.inter_token_latencies_s
        ],
    }
    found: dict[str, Any] = {"latency_requests": sum(timing.requests for timing in timings)}
    for name, pairs in by_name.items():
        values = np.repeat([value for value, _ in pairs], [count for _, count in pairs])
        for percentile in PERCENTILES:
            found[f"{name}_p{percentile}"] = float(np.percentile(values, percentile))
    return found


def _since(started: float) -> float:
    return time.perf_counter() - started
