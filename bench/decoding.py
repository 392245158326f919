"""Our greedy decoding beside transformers' `generate`, and our scoring beside lm-eval's own model, on the same weights.

Each pair takes turns in one process, so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer

from harness.config.compose import compose_cell
from harness.data.corpus import take_bytes, text_corpus
from harness.data.prompts import PromptBatch, prompts_of_length
from harness.data.tokens import rolling_windows
from harness.models.generation import HuggingFaceGenerator, greedy
from harness.runner.answering import Answer
from harness.runner.batches import Batch, split_windows
from harness.runner.module import token_nats
from harness.runner.run import load, prepare

PROMPT, OUTPUT = 64, 32


def interleaved(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each, in turns; the first turn is a warm-up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for kept, do in zip(seconds, (ours, theirs), strict=True):
            started = time.perf_counter()
            do()
            kept.append(time.perf_counter() - started)
    return seconds[0][1:], seconds[1][1:]


def line(name: str, amount: float, unit: str, pair: tuple[list[float], list[float]]) -> str:
    """A row of the table: rates of both, and the median ratio of times (theirs over ours: above 1 we are faster)."""
    ratios = [theirs / ours for ours, theirs in zip(*pair, strict=True)]
    ours, theirs = (amount / statistics.median(seconds) for seconds in pair)
    spread = f"{statistics.median(ratios):8.3f}{min(ratios):8.3f}{max(ratios):8.3f}"
    return f"{name:44}{ours:12.1f}{theirs:12.1f} {unit:10}{spread}"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precisions", nargs="*", default=["fp32", "bf16"])
    parser.add_argument("--batch-sizes", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--scoring-batch-sizes", nargs="*", type=int, default=[1, 8], help="of ours")
    parser.add_argument("--lm-eval-batch-sizes", nargs="*", type=int, default=[1, 4, 8, 16], help="1 is its default")
    options = parser.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(f"{'cell':44}{'ours':>12}{'theirs':>12} {'':10}{'ratio':>8}{'least':>8}{'most':>8}", flush=True)
    for precision in options.precisions:
        compare(
            precision, options.batch_sizes, options.scoring_batch_sizes, options.lm_eval_batch_sizes, options.rounds
        )


def compare(
    precision: str, batch_sizes: list[int], our_sizes: list[int], lm_eval_sizes: list[int], rounds: int
) -> None:
    """All rows of a precision."""
    config = compose_cell(["model=smollm2-135m", f"precision={precision}"]).config
    prepare(config)
    source, model = load(config)
    network = model.network
    assert isinstance(network, HuggingFaceGenerator)
    documents = text_corpus(source).splits["test"]
    filler = model.tokenizer.separator_id
    with torch.inference_mode():
        for size in batch_sizes:
            rows = prompts_of_length(documents, model.tokenizer, size, PROMPT, "test")
            batch = PromptBatch.of(rows, filler)

            def ours(batch: PromptBatch = batch) -> None:
                answer = Answer(network, batch, OUTPUT, greedy)
                answer.start()
                answer.go_on(OUTPUT - 1)

            def theirs(batch: PromptBatch = batch) -> None:
                network.model.generate(
                    batch.ids_BT,
                    attention_mask=torch.ones_like(batch.ids_BT),
                    max_new_tokens=OUTPUT,
                    min_new_tokens=OUTPUT,
                    do_sample=False,
                    pad_token_id=filler,
                )

            pair = interleaved(ours, theirs, rounds)
            print(line(f"decode {precision} batch {size}, transformers", size * OUTPUT, "tokens/s", pair), flush=True)
        tokenizer = AutoTokenizer.from_pretrained(network.model.config._name_or_path)
        taken = take_bytes(documents, 16384)
        texts = [Instance("loglikelihood_rolling", {}, (document,), 0) for document in taken]
        context = max(1 + len(ids) for ids in model.tokenizer.encode(taken))
        windows = rolling_windows(taken, model.tokenizer, context).longest_first()
        for own_size, size in product(our_sizes, lm_eval_sizes):
            batches = split_windows(windows.inputs, windows.targets, own_size, windows.lengths)

            def our_scoring(batches: list[Batch] = batches) -> None:
                for (ids,), targets in batches:
                    token_nats(network(ids), targets)

            own = HFLM(pretrained=network.model, tokenizer=tokenizer, batch_size=size, max_length=model.context_length)
            scored = interleaved(
                our_scoring,
                lambda own=own: own.loglikelihood_rolling(texts, disable_tqdm=True),  # type: ignore[misc]
                max(1, rounds // 2),
            )
            name = f"score {precision} batch {own_size}, lm-eval batch {size}"
            print(line(name, windows.scored_tokens, "tokens/s", scored), flush=True)


if __name__ == "__main__":
    main()
