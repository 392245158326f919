"""`EnergyMonitor`: energy of every stage and epoch of any Lightning Trainer, in one line.

    trainer = pl.Trainer(callbacks=[EnergyMonitor()], ...)

It needs nothing else of this project. Where the Trainer has several processes, each reads its own GPU, one process a
node reads CPU packages and memory, and the figures are summed over processes: a CPU is counted once however many
processes share it. Figures go to the Trainer's logger, and stay in `monitor.measurements`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytorch_lightning as pl
from torch import distributed

from harness.energy.choose import cpu_source, gpu_source, with_host
from harness.energy.cuda import device_uuid, synchronize
from harness.energy.figure import EnergyFigure, Method, total
from harness.energy.host import count_as_own
from harness.energy.meter import EnergyMeter, OpenWindow, Window
from harness.energy.source import Source

Sources = Callable[[pl.Trainer], Sequence[Source]]


def sources_of_rank(trainer: pl.Trainer) -> list[Source]:
    """This process's GPU, where it has one; and in the first process of a node, CPU packages and memory.

    The GPU is found by its UUID: CUDA and NVML may number the boards differently.
    """
    device = trainer.strategy.root_device
    host = [cpu_source()] if trainer.local_rank == 0 else []
    if device.type != "cuda":
        return host
    return with_host(gpu_source([device.index or 0], uuids=[device_uuid(device)]), host)


class WindowCallback(pl.Callback):
    """Opens and closes windows of a meter, and closes what is open when the Trainer fails.

    Args:
        meter: The meter; None until one is set.
    """

    def __init__(self, meter: EnergyMeter | None = None) -> None:
        self.meter = meter
        self._open: dict[str, OpenWindow] = {}

    def open_window(self, key: str, phase: str, repeat: int | None = None, label: str = "") -> OpenWindow:
        """Open a window under a key."""
        self._open[key] = self.meter_in_use.begin(phase, repeat, label)
        return self._open[key]

    def close_window(self, key: str, ok: bool = True) -> Window | None:
        """Close the window under a key; None if there is none."""
        window = self._open.pop(key, None)
        if window is None:
            return None
        return self.meter_in_use.end(window, ok)

    @property
    def meter_in_use(self) -> EnergyMeter:
        """The meter, once it is set."""
        assert self.meter is not None, "a meter is set before the first window"
        return self.meter

    def drop_window(self, key: str) -> None:
        """Forget the window under a key."""
        self._open.pop(key, None)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Close every open window as interrupted."""
        for key in list(self._open):
            self.close_window(key, ok=False)


class EnergyMonitor(WindowCallback):
    """Energy of each stage and each training epoch.

    Validation inside a fit has windows of its own, beside the epoch's; the epoch's energy includes it.

    Args:
        sources: What each process reads; by default its GPU, and once a node the CPU.

    Attributes:
        measurements: One row a stage or epoch, summed over processes: stage, epoch, duration_s, `<component>_energy_j`,
            total_energy_j with its bounds, energy_method, flags. A missing reading is None.
    """

    def __init__(self, sources: Sources = sources_of_rank) -> None:
        super().__init__()
        self._sources = sources
        self.measurements: list[dict[str, Any]] = []

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Open this process's sources; what the node's other processes of this Trainer do is this run's own."""
        ranks = _gathered(trainer, (trainer.node_rank, os.getpid()))
        count_as_own(pid for node, pid in ranks if node == trainer.node_rank)
        self._close()
        self.meter = EnergyMeter(self._sources(trainer), synchronize)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Release this process's sources."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Close what is open; Lightning does not tear down after an error."""
        try:
            super().on_exception(trainer, module, exception)
        finally:
            self._close()

    def _close(self) -> None:
        if self.meter is not None:
            self.meter.close()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Begin the training stage."""
        self.open_window("train", "train")

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """End the training stage."""
        self._record(trainer, "train", None)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Begin an epoch."""
        self.open_window("epoch", "train", label=f"epoch {trainer.current_epoch}")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """End an epoch."""
        self._record(trainer, "epoch", trainer.current_epoch)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Begin a validation; Lightning's sanity check before a fit is none."""
        if not trainer.sanity_checking:
            self.open_window("validate", "score")

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """End a validation."""
        self._record(trainer, "validate", trainer.current_epoch)

    def on_test_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Begin the test stage."""
        self.open_window("test", "score")

    def on_test_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """End the test stage."""
        self._record(trainer, "test", None)

    def on_predict_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Begin the prediction stage."""
        self.open_window("predict", "score")

    def on_predict_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """End the prediction stage."""
        self._record(trainer, "predict", None)

    def _record(self, trainer: pl.Trainer, key: str, epoch: int | None) -> None:
        window = self.close_window(key)
        if window is None:
            return
        ranks = _gathered(trainer, (window.figures, window.flags))
        figures = [figure for rank_figures, _ in ranks for figure in rank_figures]
        flags = sorted({flag for _, rank_flags in ranks for flag in rank_flags})
        row = {"stage": key, "epoch": epoch, "duration_s": window.duration_s, **energy_row(figures)}
        self.measurements.append({**row, "flags": ",".join(flags)})
        if trainer.logger is not None and trainer.is_global_zero:
            numbers = {name: value for name, value in row.items() if isinstance(value, float)}
            metrics = {f"{key}/{name}": value for name, value in numbers.items()}
            for logger in trainer.loggers:
                logger.log_metrics(metrics, step=trainer.global_step)


def energy_row(figures: Sequence[EnergyFigure]) -> dict[str, Any]:
    """Energy by component and in all, summed over processes; a component that any process lacks is None."""
    summed = total(figures)
    row: dict[str, Any] = {}
    for component in dict.fromkeys(figure.component for figure in figures):
        part = total([figure for figure in figures if figure.component == component])
        row[f"{component}_energy_j"] = part.value_j
    return {
        **row,
        "total_energy_j": summed.value_j,
        "total_energy_low_j": summed.low_j,
        "total_energy_high_j": summed.high_j,
        "energy_method": Method(summed.method).value,
    }


T = TypeVar("T")


def _gathered(trainer: pl.Trainer, told: T) -> list[T]:
    """What every process of a Trainer tells; there may be a process group that is another's."""
    if trainer.world_size == 1 or not (distributed.is_available() and distributed.is_initialized()):
        return [told]
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, told)
    return gathered
