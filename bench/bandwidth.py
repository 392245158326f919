"""Decoding at batch 1 against the memory's read bandwidth: how near each engine and precision comes to reading alone.

A step reads every weight once, so no engine decodes faster than the bandwidth over the bytes of its weights. The
bandwidth is measured: the fastest of several sums of a large float32 tensor, on all threads. All engines take turns in
one process, so that a noisy machine disturbs them alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch

from harness.backends.backend import backend_of
from harness.config.compose import compose_cell
from harness.data.prompts import PromptBatch
from harness.errors import UserError
from harness.load import preflight
from harness.models.generation import Generator, greedy
from harness.runner.answering import Answer
from harness.runner.run import load, prepare

PROMPT, STEPS = 64, 32
CELLS = (
    *("eager fp32", "compile fp32", "onnxruntime fp32", "llama-cpp fp32"),
    *("eager bf16", "compile bf16", "llama-cpp bf16", "eager int8-bf16", "compile int8-bf16"),
    *("eager int4", "onnxruntime int8-dynamic", "llama-cpp q8_0", "llama-cpp q4_0"),
)


def read_bandwidth(size_bytes: int = 1 << 30, times: int = 8) -> float:
    """Bytes a second, of the fastest of some sums of a tensor that no cache holds."""
    tensor = torch.ones(size_bytes // 4)
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        tensor.sum()
        seconds.append(time.perf_counter() - started)
    return size_bytes / min(seconds)


def decoder(backend: str, precision: str, model: str) -> tuple[Callable[[], None], int]:
    """A function that decodes some steps after a prompt, and the bytes that each step reads.

    Raises:
        UserError: If this machine has not the backend or the precision.
    """
    cell = compose_cell(
        ["task=generate", f"model={model}", f"backend={backend}", f"precision={precision}", "batch_size=1"]
    )
    config, engine = cell.config, backend_of_checked(cell.config)
    prepare(config)
    _, loaded = load(config)
    loaded = engine.prepare(config, loaded, SimpleNamespace(window=lambda phase: nullcontext()))
    network = loaded.network
    assert isinstance(network, Generator), "every backend loads one"
    batch = PromptBatch.of([list(range(1000, 1000 + PROMPT))], loaded.tokenizer.separator_id)
    answer = Answer(network, batch, STEPS + 1, greedy, network.compiled)
    answer.start()

    def decode() -> None:
        answer.go_on(STEPS)
        answer.rewind()

    return decode, network.streamed_bytes()


def backend_of_checked(config: Any) -> Any:
    """The engine, if it is installed and has what the cell asks for."""
    preflight(config.backend)
    engine = backend_of(config)
    engine.require_supported(config)
    return engine


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--cells", nargs="*", default=list(CELLS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    decoders = {}
    for name in options.cells:
        try:
            decoders[name] = decoder(*name.split(), options.model)
        except UserError as error:
            print(f"{name}: {error.what}")
    seconds: dict[str, list[float]] = {name: [] for name in decoders}
    bandwidths = []
    with torch.inference_mode():
        for decode, _ in decoders.values():
            decode()  # warms up, and compiles
            decode()
        for _ in range(options.rounds):
            bandwidths.append(read_bandwidth())
            for name, (decode, _) in decoders.items():
                started = time.perf_counter()
                decode()
                seconds[name].append((time.perf_counter() - started) / STEPS)
    bandwidth = statistics.median(bandwidths)
    print(
        f"read bandwidth {bandwidth / 1e9:.1f} GB/s on {torch.get_num_threads()} threads (median of {options.rounds})"
    )
    print(f"{'engine precision':26}{'MB a step':>10}{'tokens/s':>10}{'least':>8}{'most':>8}{'of bandwidth':>14}")
    for name, (_, size) in decoders.items():
        rates = [1 / value for value in seconds[name]]
        share = size * statistics.median(rates) / bandwidth
        spread = f"{min(rates):8.1f}{max(rates):8.1f}"
        print(f"{name:26}{size / 1e6:10.0f}{statistics.median(rates):10.1f}{spread}{share:14.2f}")


if __name__ == "__main__":
    main()
