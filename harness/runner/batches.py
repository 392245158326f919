"""What the Trainer iterates over: batches made from token arrays, without workers or copies."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, IterableDataset

from harness.data.tokens import IGNORED, Ids, ScoringWindows, training_offsets
from harness.runner.module import Batch


class ScoringBatches(Dataset[Batch]):
    """The windows of a text in batches; asked for more than there are, it starts over.

    Args:
        windows: The text's windows.
        batch_size: Windows in a batch; the last batch of a pass may be smaller.
        count: Number of batches; None for one whole pass.
    """

    def __init__(self, windows: ScoringWindows, batch_size: int, count: int | None = None) -> None:
        self._inputs = torch.split(torch.from_numpy(windows.inputs), batch_size)
        self._targets = torch.split(torch.from_numpy(windows.targets), batch_size)
        self._count = len(self._inputs) if count is None else count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Batch:
        if index >= self._count:
            raise IndexError(index)
        return self._inputs[index % len(self._inputs)], self._targets[index % len(self._inputs)]

    def scored_tokens(self) -> int:
        """Targets that are scored over all batches."""
        return sum(int((self[index][1] != IGNORED).sum()) for index in range(len(self)))

    def positions(self) -> int:
        """Input positions over all batches, padding included: what the device computes."""
        return sum(self[index][0].numel() for index in range(len(self)))

    def samples(self) -> int:
        """Windows over all batches."""
        return sum(len(self[index][0]) for index in range(len(self)))


class UntilWarm(IterableDataset[Batch]):
    """Batches of a data set, over and over, until enough iterations and enough seconds have passed."""

    def __init__(self, batches: ScoringBatches, iterations: int, seconds: float) -> None:
        self._batches = batches
        self._iterations = iterations
        self._seconds = seconds
        self.served = 0

    def __iter__(self) -> Iterator[Batch]:
        started = time.perf_counter()
        while self.served < self._iterations or time.perf_counter() - started < self._seconds:
            yield self._batches[self.served % len(self._batches)]
            self.served += 1


class TrainingBatches(Dataset[Batch]):
    """Random blocks of a token stream: `steps` batches of `batch_size` blocks of `context` tokens.

    Raises:
        UserError: If the stream is shorter than one block.
    """

    def __init__(self, stream: Ids, context: int, batch_size: int, steps: int, seed: int) -> None:
        self._stream = stream
        self._columns: npt.NDArray[np.int64] = np.arange(context + 1)
        self._offsets = training_offsets(stream, context, steps * batch_size, seed).reshape(steps, batch_size)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Batch:
        if index >= len(self):
            raise IndexError(index)
        blocks = self._stream[self._offsets[index][:, None] + self._columns].astype(np.int64)
        ids = torch.from_numpy(blocks)
        return ids[:, :-1], ids[:, 1:]
