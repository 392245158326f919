"""One training step of the runner beside a hand-written PyTorch loop of the same model, data and precision.

Both take turns in one process, step by step, so that a noisy machine disturbs both alike. The runner's step is all that
happens from the start of one batch to the start of the next: data, hooks, windows of the meter, optimiser and schedule.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from harness.config.compose import compose_cell
from harness.config.task import TrainTaskConfig
from harness.energy.choose import open_sources
from harness.energy.cuda import synchronize
from harness.energy.meter import EnergyMeter
from harness.runner.batches import TrainLoader
from harness.runner.fit import Training
from harness.runner.metering import MeteredTraining, ReportProgress
from harness.runner.module import LanguageModule
from harness.runner.run import load, prepare
from harness.runner.session import Session
from harness.runner.train import step_size

SMALL = ("batch_size=1", "precision=fp32", "task.context=32", "model.tokenizer.vocab_size=1024", "hardware.threads=1")
CELLS = (
    # Steps so small that what is added shows.
    ["model=gpt-pico", *SMALL],
    ["model=gpt-nano", *SMALL],
    ["model=gpt-micro", "batch_size=16", "precision=fp32"],
    ["model=gpt-mini", "batch_size=16", "precision=fp32"],
    ["model=gpt-mini", "batch_size=16", "precision=bf16-mixed"],
    ["model=gpt-mini", "batch_size=16", "precision=bf16"],
    ["model=gpt-25m", "batch_size=8", "precision=fp32"],
    ["model=gpt-25m", "batch_size=8", "precision=bf16-mixed"],
    ["model=gpt-25m", "batch_size=8", "precision=bf16"],
)


class HandWritten:
    """The loop that one would write without this project: nothing is measured in it."""

    def __init__(self, session: Session, training: Training) -> None:
        settings = training.task.optimizer
        self._network = session.model.network
        self._batches = training.batches
        self._clip = settings.gradient_clip_norm
        self._device = torch.device(session.config.hardware.accelerator)
        mixed = session.config.precision.lightning == "bf16-mixed"
        self._autocast: Any = torch.autocast(self._device.type, torch.bfloat16) if mixed else nullcontext()
        parameters = list(self._network.parameters())
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        betas = (settings.beta1, settings.beta2)
        self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=True)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, lambda step: 1 / (step + 1) ** 0.5)
        self._network.train()

    def step(self, index: int) -> None:
        """One step on the batch of a number."""
        (ids,), targets = self._batches[index]
        ids, targets = ids.to(self._device), targets.to(self._device)
        with self._autocast:
            logits = self._network(ids)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._clip or 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()


class TakeTurns(pl.Callback):
    """Before each batch of the Trainer, one step of the other loop; the seconds of both."""

    def __init__(self, other: HandWritten) -> None:
        self._other = other
        self._ended: float | None = None
        self.trainers: list[float] = []
        self.others: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Take the time."""
        synchronize()
        now = time.perf_counter()
        if self._ended is not None:
            self.trainers.append(now - self._ended)
        self._other.step(batch_idx)
        synchronize()
        self._ended = time.perf_counter()
        self.others.append(self._ended - now)


def prepared(overrides: list[str], folder: Path) -> tuple[Session, Training]:
    """A session of a cell with its model on its device, and its training."""
    config = compose_cell(["task=train", "protocol=smoke", "data=python-stdlib", *overrides]).config
    prepare(config)
    corpus, model = load(config)
    model.network.to(config.hardware.accelerator)
    meter = EnergyMeter(open_sources(config.energy, config.hardware), synchronize)
    session = Session(config, model, corpus, meter, lambda *_: None, folder)
    task = config.task
    assert isinstance(task, TrainTaskConfig)
    return session, Training.of(session, task, task.context or model.context_length, step_size(session, task))


def compare(overrides: list[str], steps: int) -> tuple[list[float], list[float]]:
    """Seconds of each step of the runner and of the hand-written loop, the first ten left out."""
    overrides = [*overrides, f"task.steps={steps}"]
    with tempfile.TemporaryDirectory() as folder:
        session, training = prepared(overrides, Path(folder))
        other, others_training = prepared(overrides, Path(folder))
        turns = TakeTurns(HandWritten(other, others_training))
        metering = MeteredTraining(session.meter, session.config.protocol, training.batches.work)
        module = LanguageModule(session.model.network, training.task.optimizer, steps)
        trainer = session.trainer(
            [ReportProgress("train", lambda *_: None), metering, turns],
            max_steps=steps,
            gradient_clip_val=training.task.optimizer.gradient_clip_norm,
        )
        module.train()
        trainer.fit(module, TrainLoader(training.batches))
        for used in (session, other):
            used.meter.close()
    return turns.trainers[10:], turns.others[10:]


def main() -> None:
    """Print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each cell, about")
    parser.add_argument("cells", nargs="*", help="overrides of one cell in quotes; the built-in list without any")
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    heads = ("steps", "loop ms", "runner ms", "added ms", "ratio", "quartiles")
    print(f"{'cell':110}" + "".join(f"{head:>15}" for head in heads))
    for overrides in [cell.split() for cell in options.cells] or CELLS:
        short = compare(list(overrides), 30)
        steps = 30 + int(options.seconds / (statistics.median(short[0]) + statistics.median(short[1])))
        runner, loop = compare(list(overrides), steps)
        ratios = [ours / theirs for ours, theirs in zip(runner, loop[: len(runner)], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        ours, theirs = statistics.median(runner) * 1e3, statistics.median(loop) * 1e3
        added = statistics.median(a - b for a, b in zip(runner, loop[: len(runner)], strict=True)) * 1e3
        spread = f"{low:.3f} {high:.3f}"
        values = (len(ratios), f"{theirs:.2f}", f"{ours:.2f}", f"{added:.2f}", f"{middle:.3f}", spread)
        print(f"{' '.join(overrides):110}" + "".join(f"{value!s:>15}" for value in values), flush=True)


if __name__ == "__main__":
    main()
