"""What a task works with: the cell, its model and text, the meter, and Trainers for this hardware and precision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from harness.config.schema import Config
from harness.data.corpus import Corpus
from harness.energy.meter import EnergyMeter
from harness.models.loaded import LoadedModel
from harness.runner.metering import Progress


@dataclass(frozen=True)
class Session:
    """One run in progress."""

    config: Config
    model: LoadedModel
    corpus: Corpus
    meter: EnergyMeter
    progress: Progress
    folder: Path

    @property
    def cache_dir(self) -> Path:
        """Where prepared token files are kept."""
        return Path(self.config.paths.cache_dir).expanduser()

    def trainer(self, callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
        """A Trainer that writes and prints nothing of its own."""
        hardware = self.config.hardware
        return pl.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            precision=self.config.precision.lightning,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(self.folder),
            **options,
        )


@dataclass(frozen=True)
class TaskOutcome:
    """What a task found.

    Attributes:
        quality: Metrics of quality, and the protocol that they were measured by.
        stop_reasons: Why each measured phase stopped repeating.
    """

    quality: dict[str, Any]
    stop_reasons: dict[str, str]
