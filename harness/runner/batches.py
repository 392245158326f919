"""What the Trainer iterates over: batches made from token arrays, without workers or copies, and the work in each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from harness.data.tokens import IGNORED
from harness.energy.meter import Work

Batch = tuple[tuple[Tensor, ...], Tensor]
"""What the network is called with, such as token ids (B, T); and the targets (B, T), IGNORED where none is scored."""


class WorkSums:
    """Work of the first batches of a list that starts over at its end.

    Args:
        works: Work of each batch. A quantity that any batch lacks is unknown.
    """

    def __init__(self, works: Iterable[Work] = ()) -> None:
        self._sums: list[npt.NDArray[np.float64]] = [np.zeros(len(fields(Work)))]  # before each batch, and after all
        for work in works:
            self.append(work)

    def __len__(self) -> int:
        return len(self._sums) - 1

    def append(self, work: Work) -> None:
        """Add a batch at the end."""
        values = [np.nan if value is None else float(value) for value in astuple(work)]
        self._sums.append(self._sums[-1] + values)

    def between(self, first: int, last: int) -> Work:
        """Work of the batches from `first` on, before `last`."""
        values = self._upto(last) - self._upto(first)
        names = [field.name for field in fields(Work)]
        return Work.of(
            {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
        )

    def _upto(self, count: int) -> npt.NDArray[np.float64]:
        passes, rest = divmod(count, max(1, len(self._sums) - 1))
        sums: npt.NDArray[np.float64] = passes * self._sums[-1] + self._sums[rest]
        return sums


@dataclass(frozen=True)
class TextSize:
    """Size of a text: UTF-8 bytes, and words separated by white space."""

    text_bytes: int
    words: int


class ScoringBatches:
    """Batches of a text to score, each once.

    Args:
        batches: The batches.
        work: What each of them computes.
        size: Size of the text that they cover; None where only some of its tokens are scored.
    """

    def __init__(self, batches: Sequence[Batch], work: Sequence[Work], size: TextSize | None) -> None:
        self._batches = batches
        self._work = WorkSums(work)
        self.size = size

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        return self._batches[index]

    def work(self, count: int) -> Work:
        """Work of the first `count` batches; after the last one it starts over."""
        return self._work.between(0, count)

    @cached_property
    def tokens_by_window(self) -> list[int]:
        """Scored tokens of each window, in order."""
        return [int(count) for _, targets in self._batches for count in (targets != IGNORED).sum(dim=1)]


class AtLeast(IterableDataset[Batch]):
    """Whole batches, over and over, until enough iterations are served and enough seconds have passed.

    Args:
        batches: What to serve.
        iterations: Smallest number of batches.
        seconds: Shortest time.
        elapsed_s: Seconds since the time began to count.
        lead_in: How often to serve the first batch before those that count.
    """

    def __init__(
        self,
        batches: ScoringBatches,
        iterations: int,
        seconds: float,
        elapsed_s: Callable[[], float],
        lead_in: int = 0,
    ) -> None:
        self._batches = batches
        self._iterations = iterations
        self._seconds = seconds
        self._elapsed_s = elapsed_s
        self.counted = -lead_in

    def __iter__(self) -> Iterator[Batch]:
        while self.counted < self._iterations or self._elapsed_s() < self._seconds:
            yield self._batches[max(0, self.counted) % len(self._batches)]
            self.counted += 1


class TrainingBatches(Protocol):
    """Every micro-batch of a training, in order; the same for the same seed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Batch: ...

    def work(self, first: int, last: int) -> Work:
        """Work of the micro-batches from `first` on, before `last`; an iteration is an optimiser step."""
        ...


class TrainLoader:
    """Serves a training's micro-batches to the Trainer, from any point on, and keeps the time that making them takes.

    Args:
        batches: All of the training.
        start: The first to serve: where an interrupted training goes on.
        share: Number of this process, and of processes: each serves its rows of every micro-batch.
    """

    def __init__(self, batches: TrainingBatches, start: int = 0, share: tuple[int, int] = (0, 1)) -> None:
        self._batches = batches
        self._start = start
        self._rows = slice(share[0], None, share[1])
        self.wait_s = 0.0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for index in range(self._start, len(self._batches)):
            asked = time.perf_counter()
            inputs, targets = self._batches[index]
            batch = tuple(tensor[self._rows] for tensor in inputs), targets[self._rows]
            self.wait_s += time.perf_counter() - asked
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Nothing: a checkpoint's own count of batches says where to go on."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


@dataclass(frozen=True)
class StepSize:
    """How an optimiser step is cut into micro-batches.

    Attributes:
        steps: Optimiser steps of the whole training.
        micro_batch_size: Sequences on the device at once.
        micro_batches: Micro-batches of a step.
    """

    steps: int
    micro_batch_size: int
    micro_batches: int

    def repeated(self, work: Work) -> WorkSums:
        """Sums over a training whose micro-batches all do the same work; the last of a step completes the iteration."""
        return WorkSums([replace(work, iterations=0)] * (self.micro_batches - 1) + [replace(work, iterations=1)])


def split_windows(
    inputs: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], batch_size: int, lengths: npt.NDArray[np.int64]
) -> list[Batch]:
    """Windows (W, T) in batches of at most `batch_size`, each as long as the longest of its windows' `lengths` (W,)."""
    batches: list[Batch] = []
    for start in range(0, len(inputs), batch_size):
        rows = slice(start, start + batch_size)
        longest = max(1, int(lengths[rows].max()))
        ids, wanted = (torch.from_numpy(np.ascontiguousarray(of[rows, :longest])) for of in (inputs, targets))
        batches.append(((ids,), wanted))
    return batches
