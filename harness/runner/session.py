"""What a task works with: the cell, its model and text, the meter, and Trainers for this hardware and precision."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl

from harness.config.schema import Config
from harness.config.task import ScoringConfig
from harness.data.corpus import TextSource
from harness.energy.meter import EnergyMeter
from harness.load import find
from harness.metrics.flops import TRAINING_PASSES, Shape
from harness.models.loaded import LoadedModel
from harness.runner.batches import ScoringBatches, StepSize, TrainingBatches
from harness.runner.module import LanguageModule
from harness.runner.progress import Progress


@dataclass(frozen=True)
class TrainingCost:
    """What a training computes.

    Attributes:
        whole_model: Whether every parameter is trained; if not, the backward pass is shorter than the count says.
        forward_only: Shapes of networks that are only asked, such as a teacher.
    """

    whole_model: bool = True
    forward_only: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class Session:
    """One run in progress."""

    config: Config
    model: LoadedModel
    corpus: TextSource
    meter: EnergyMeter
    progress: Progress
    folder: Path
    training_cost: TrainingCost = field(default_factory=TrainingCost)

    def training_flops(self, rows: int, lengths: tuple[int, ...]) -> float | None:
        """FLOPs of forward and backward of `rows` sequences; None where no published count holds."""
        if not self.training_cost.whole_model:
            return None
        shapes = [self.model.shape] * TRAINING_PASSES + list(self.training_cost.forward_only)
        return float(sum(shape.forward_flops(rows, lengths) for shape in shapes))

    @property
    def cache_dir(self) -> Path:
        """Where prepared token files are kept."""
        return Path(self.config.paths.cache_dir).expanduser()

    @property
    def objective(self) -> Objective:
        """What the model learns and is scored by."""
        found: Objective = find(self.model.objective)()
        return found

    def trainer(self, callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
        """A Trainer that writes and prints nothing of its own."""
        hardware = self.config.hardware
        defaults: dict[str, Any] = {"logger": False, "devices": 1}
        return pl.Trainer(
            accelerator=hardware.accelerator,
            precision=self.config.precision.lightning,
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(self.folder),
            **{**defaults, **options},
        )


@dataclass(frozen=True)
class TaskOutcome:
    """What a task found.

    Attributes:
        quality: Metrics of quality, and the protocol that they were measured by.
        stop_reasons: Why each measured phase stopped repeating.
        training: What a training adds to the record: targets, interruptions, waiting for data.
        generation: What generating adds: latencies, sizes of prompts, outputs and cache.
        answers: What answering questions adds: requests, and joules over them and over correct answers.
        model: What it adds to the model's provenance, such as its teacher.
    """

    quality: dict[str, Any]
    stop_reasons: dict[str, str]
    training: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)


class Objective(Protocol):
    """How text becomes batches, and how quality is measured."""

    def training_batches(self, session: Session, context: int, size: StepSize) -> TrainingBatches:
        """Every micro-batch of a training, in order; the same for the same seed."""
        ...

    def validation_batches(self, session: Session, context: int, max_bytes: int) -> ScoringBatches:
        """Batches of the validation split whose likelihood is looked at during training."""
        ...

    def score(self, session: Session, module: LanguageModule, scoring: ScoringConfig) -> TaskOutcome:
        """Quality of the held-out text, and what finding it costs."""
        ...
