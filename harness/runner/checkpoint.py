"""Checkpoints from which an interrupted training goes on as if nothing had happened, its energy included."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from harness.data.cache import atomic_path
from harness.energy.cuda import cuda_in_use
from harness.energy.meter import EnergyMeter, Window
from harness.errors import UserError
from harness.record.windows import window_from_state, window_state
from harness.runner.curve import CurvePoint, QualityCurve
from harness.runner.metering import MeteredTraining, training_windows
from harness.runner.module import LanguageModule

FILE = Path("checkpoint", "last.ckpt")
# What was lost since the checkpoint, an entry a process that went on from it; the last is unknown until it ends.
INTERRUPTED = Path("checkpoint", "interrupted.json")

Lost = Mapping[str, float | None]
"""Seconds and joules of training that have to be done again."""

UNKNOWN: Lost = {"seconds": None, "joules": None}


@dataclass(frozen=True)
class Resumed:
    """Where an interrupted training goes on.

    Attributes:
        path: The checkpoint, or None for a training from the start.
        batches: Micro-batches that were done.
        windows: Windows of the meter until the checkpoint.
        losses: Loss of each of these micro-batches.
        points: Quality curve so far.
        lost: Of each interruption, the seconds and joules of training after the last checkpoint, which were done again;
            None where the process died and nobody knows.
        since: Those of them that came after this checkpoint.
        stop_reason: Why the training had ended, if only its scoring was interrupted.
    """

    path: Path | None = None
    batches: int = 0
    windows: Sequence[Window] = ()
    losses: Sequence[float] = ()
    points: Sequence[CurvePoint] = ()
    lost: Sequence[Lost] = ()
    since: Sequence[Lost] = ()
    stop_reason: str = ""


def find_checkpoint(folder: Path, fingerprint: str) -> Resumed:
    """The checkpoint in a run's folder, or a start from nothing.

    Raises:
        UserError: If it cannot be read, or belongs to another configuration.
    """
    path = folder / FILE
    if not path.is_file():
        return Resumed()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["joulebench"]
    except Exception as error:  # A damaged file raises whatever its bytes lead to.
        raise UserError(f"{path}: the checkpoint cannot be read ({error})", remedy="remove that file") from error
    if state["fingerprint"] != fingerprint:
        raise UserError(
            f"{path}: the checkpoint belongs to another configuration ({state['fingerprint']}, not {fingerprint})",
            remedy="remove that file, or run the configuration that it belongs to",
        )
    noted = folder / INTERRUPTED
    since = json.loads(noted.read_text(encoding="utf-8")) if noted.is_file() else [UNKNOWN]
    return Resumed(
        path=path,
        batches=state["batches"],
        windows=[window_from_state(window) for window in state["windows"]],
        losses=state["losses"],
        points=[CurvePoint(**point) for point in state["points"]],
        lost=[*state["lost"], *since],
        since=since,
        stop_reason=state["stop_reason"],
    )


class TrainingCheckpoint(pl.Callback):
    """Saves, every so many steps, all that the training needs to go on; the saving is no training.

    Args:
        folder: The run's folder.
        every: Steps between two checkpoints; None for none.
        fingerprint: Of the cell.
        meter, metering, curve: Whose state is kept.
        resumed: What this training itself went on from.
    """

    def __init__(
        self,
        folder: Path,
        every: int | None,
        fingerprint: str,
        meter: EnergyMeter,
        metering: MeteredTraining,
        curve: QualityCurve,
        resumed: Resumed,
    ) -> None:
        self._folder = folder
        self._every = every
        self._fingerprint = fingerprint
        self._meter = meter
        self._metering = metering
        self._curve = curve
        self._resumed = resumed
        self._since = list(resumed.since)
        self._saved_windows = len(meter.windows)
        self._stop_reason = ""

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Save before the first micro-batch of a step: everything of the steps before it is complete here."""
        due = self._every is not None and trainer.global_step and trainer.global_step % self._every == 0
        if not due or batch_idx % trainer.accumulate_grad_batches or batch_idx == self._resumed.batches:
            return
        with self._metering.paused("checkpoint"):
            self._save(trainer)

    def save_last(self, trainer: pl.Trainer, stop_reason: str) -> None:
        """Save a training that has ended, so that an interruption of its scoring does not cost it."""
        if self._every is not None:
            self._stop_reason = stop_reason
            with self._meter.window("checkpoint"):
                self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            with atomic_path(self._folder / FILE) as temporary:
                trainer.save_checkpoint(temporary)
            self._since = []
            self._note(UNKNOWN)
        else:
            trainer.save_checkpoint(self._folder / FILE)  # It takes part, and the first process writes.
        self._saved_windows = len(self._meter.windows)

    def _note(self, lost: Lost) -> None:
        """Write down what this process has lost since the checkpoint, behind what earlier ones had."""
        with atomic_path(self._folder / INTERRUPTED) as temporary:
            temporary.write_text(json.dumps([*self._since, lost]), encoding="utf-8")

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not keep."""
        assert isinstance(module, LanguageModule)
        # This batch has only been fetched: without this, Lightning would count it twice and validate a batch early.
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for count in (progress["total"], progress["current"]):
            count["ready"] = count["completed"]
        checkpoint["joulebench"] = {
            "fingerprint": self._fingerprint,
            "batches": self._metering.batches_done,
            "windows": [window_state(window) for window in self._meter.windows],
            "losses": [*self._resumed.losses, *(float(loss) for loss in module.mean_losses())],
            "points": [asdict(point) for point in self._curve.points],
            "lost": [dict(lost) for lost in self._resumed.lost],
            "random": _random_state(),
            "stop_reason": self._stop_reason,
        }

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with the same random numbers."""
        self._random = checkpoint["joulebench"]["random"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Set the random numbers as late as can be: nothing else draws any before the first step."""
        if self._resumed.path is not None:
            _set_random_state(self._random)
            if trainer.is_global_zero:
                self._note(UNKNOWN)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Note what was spent since the last checkpoint: it will be done again."""
        if not (trainer.is_global_zero and (self._folder / FILE).is_file()):
            return
        lost = training_windows(self._meter.windows[self._saved_windows :])
        energies = [window.energy.value_j for window in lost]
        known = [value for value in energies if value is not None]
        joules = sum(known) if len(known) == len(energies) else None
        self._note({"seconds": sum(window.duration_s for window in lost), "joules": joules})


def load_weights(module: LanguageModule, resumed: Resumed) -> None:
    """The weights of a training that had ended."""
    assert resumed.path is not None, "it ended with a checkpoint"
    module.load_state_dict(torch.load(resumed.path, map_location="cpu", weights_only=True)["state_dict"])


def remove_checkpoint(folder: Path) -> None:
    """Forget the checkpoint of a training that has ended."""
    for file in (FILE, INTERRUPTED):
        (folder / file).unlink(missing_ok=True)
    if (folder / FILE).parent.is_dir() and not any((folder / FILE).parent.iterdir()):
        (folder / FILE).parent.rmdir()


def can_go_on(folder: Path) -> bool:
    """Whether a run's folder holds a checkpoint."""
    return (folder / FILE).is_file()


def _random_state() -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda_in_use() else [],
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "python": (version, list(internal), gauss_next),
    }


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
