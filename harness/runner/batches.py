"""What the Trainer iterates over: batches made from token arrays, without workers or copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, IterableDataset

from harness.data.tokens import IGNORED, Ids, ScoringWindows, training_offsets
from harness.runner.module import Batch


class ScoringBatches(Dataset[Batch]):
    """The windows of a text in batches, each once.

    Args:
        windows: The text's windows.
        batch_size: Windows in a batch; the last batch may be smaller.
    """

    def __init__(self, windows: ScoringWindows, batch_size: int) -> None:
        self._inputs = torch.split(torch.from_numpy(windows.inputs), batch_size)
        self._targets = torch.split(torch.from_numpy(windows.targets), batch_size)
        sizes = [
            (len(inputs), inputs.numel(), int((targets != IGNORED).sum()))
            for inputs, targets in zip(self._inputs, self._targets, strict=True)
        ]
        self._held: npt.NDArray[np.int64] = np.cumsum([(0, 0, 0), *sizes], axis=0)

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> Batch:
        return self._inputs[index], self._targets[index]

    def amount(self, batches: int) -> Amount:
        """What the first `batches` batches hold; after the last one it starts over."""
        passes, rest = divmod(batches, len(self))
        windows, positions, scored_tokens = passes * self._held[-1] + self._held[rest]
        return Amount(int(windows), int(positions), int(scored_tokens))


@dataclass(frozen=True)
class Amount:
    """Windows, input positions with padding (what the device computes), and targets that are scored."""

    windows: int
    positions: int
    scored_tokens: int


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
