"""The quality curve of a training: quality against the steps, tokens, seconds and joules that it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl
import torch

from harness.config.task import StopConfig
from harness.energy.meter import EnergyMeter, Work
from harness.energy.segments import energy_over
from harness.metrics.language import bits_per_byte, perplexity
from harness.runner.batches import ScoringBatches
from harness.runner.metering import MeteredTraining, training_windows
from harness.runner.module import LanguageModule


@dataclass(frozen=True)
class CurvePoint:
    """Quality at a validation, and what the training up to it took; validations themselves do not count.

    Attributes:
        step: Optimiser steps.
        tokens, samples: That were trained on.
        train_s: Seconds of training, warm-up included.
        train_energy_j, train_energy_low_j, train_energy_high_j: Its energy and the interval of it.
        perplexity: Of the validation text; of its masked tokens where the model learns these.
        bits_per_byte: Of the validation text; None where not all of its tokens are scored.
    """

    step: int
    tokens: int | None
    samples: int | None
    train_s: float
    train_energy_j: float | None
    train_energy_low_j: float | None
    train_energy_high_j: float | None
    perplexity: float
    bits_per_byte: float | None


class QualityCurve(pl.Callback):
    """Adds a point at every validation, and ends the training where its quality says so.

    Args:
        meter: Whose training windows count.
        batches: The validation text; None where there are no validations.
        work: Work of the micro-batches from a first on, before a last.
        metering: Knows how many were done.
        stop: The target and the patience.
        points: From before an interruption.
    """

    def __init__(
        self,
        meter: EnergyMeter,
        batches: ScoringBatches | None,
        work: Callable[[int, int], Work],
        metering: MeteredTraining,
        stop: StopConfig,
        points: Sequence[CurvePoint] = (),
    ) -> None:
        self._meter = meter
        self._batches = batches
        self._work = work
        self._metering = metering
        self._stop = stop
        self.points = list(points)
        self.stop_reason = ""

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Add a point, log it, and stop where the target is met or patience is at its end."""
        assert isinstance(module, LanguageModule), "it keeps the likelihoods"
        point = self._point(trainer.global_step, [float(nats) for nats in torch.cat(module.nats)])
        self.points.append(point)
        numbers = {f"validation/{name}": value for name, value in asdict(point).items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(numbers, step=trainer.global_step)
        self.stop_reason = trainer.strategy.broadcast(stop_reason(self.points, self._stop))
        if self.stop_reason:
            trainer.should_stop = True

    def _point(self, step: int, nats: list[float]) -> CurvePoint:
        windows = training_windows(self._meter.windows)
        energy = energy_over(windows)
        done = self._work(0, self._metering.batches_done)
        assert self._batches is not None, "a validation had a text"
        total, size = sum(nats), self._batches.size
        return CurvePoint(
            step=step,
            tokens=done.tokens,
            samples=done.samples,
            train_s=sum(window.duration_s for window in windows),
            train_energy_j=energy.value_j,
            train_energy_low_j=energy.low_j,
            train_energy_high_j=energy.high_j,
            perplexity=perplexity(total, sum(self._batches.tokens_by_window)),
            bits_per_byte=None if size is None else bits_per_byte(total, size.text_bytes),
        )


def stop_reason(points: Sequence[CurvePoint], stop: StopConfig) -> str:
    """Why training ends after these points, or an empty string."""
    values = [_value(point, stop.metric) for point in points]
    if stop.quality is not None and values[-1] <= stop.quality:
        return f"{stop.metric} {values[-1]:.4g} met the target {stop.quality:g} at step {points[-1].step}"
    if stop.patience is not None and len(values) - 1 - values.index(min(values)) >= stop.patience:
        return f"no better {stop.metric} in {stop.patience} validations, at step {points[-1].step}"
    return ""


def to_target(points: Sequence[CurvePoint], stop: StopConfig) -> dict[str, Any]:
    """Energy and time until the first validation that met the target; None where none did or there is no target."""
    empty = {"energy_to_target_j": None, "time_to_target_s": None, "tokens_to_target": None, "steps_to_target": None}
    if stop.quality is None:
        return {"target_met": None, **empty}
    for point in points:
        if _value(point, stop.metric) <= stop.quality:
            return {
                "target_met": True,
                "energy_to_target_j": point.train_energy_j,
                "time_to_target_s": point.train_s,
                "tokens_to_target": point.tokens,
                "steps_to_target": point.step,
            }
    return {"target_met": False, **empty}


def missed_target(points: Sequence[CurvePoint], stop: StopConfig) -> str:
    """That the target was not met and how near the training came, or an empty string."""
    if stop.quality is None or not points or to_target(points, stop)["target_met"]:
        return ""
    best = min(points, key=lambda point: _value(point, stop.metric))
    value = _value(best, stop.metric)
    found = f"{stop.metric} was {value:.4g} at best (step {best.step}), not {stop.quality:g}"
    return f", which did not meet the target: {found}"


def _value(point: CurvePoint, metric: str) -> float:
    value = getattr(point, metric)
    assert value is not None, "checked before the training"
    return float(value)
