"""What a sweep would do: cells that are done, pending or impossible, and what the pending ones will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config.axes import axes_of
from harness.config.compose import Cell
from harness.config.schema import Config
from harness.config.task import TrainTaskConfig
from harness.energy.host import cpu_name
from harness.record.record import read_record, record_folders
from harness.stats.intervals import Interval
from harness.sweep.cells import Found, look_up
from harness.sweep.memory import device_memory_bytes, impossible
from harness.sweep.predict import CellPredictor


@dataclass(frozen=True)
class PlannedCell:
    """One cell of a plan.

    Attributes:
        found: What the results hold of it.
        impossible: Why it cannot run here; empty if it may.
        duration_s: Predicted, of a pending cell; None where nothing like it is finished.
        energy_j: Predicted, likewise.
    """

    found: Found
    impossible: str
    duration_s: Interval | None = None
    energy_j: Interval | None = None


def plan(cells: Sequence[Cell], elsewhere: bool = False) -> list[PlannedCell]:
    """Plan cells; nothing is started, and no weights are loaded.

    Args:
        cells: The cells.
        elsewhere: Whether they run on other machines, of which nothing is known here.

    Raises:
        UserError: If a record cannot be read.
    """
    found = look_up(cells, elsewhere)
    finished = _finished(Path(cells[0].config.paths.results_dir))
    durations = CellPredictor(
        (axes, record["duration_s"], _of_training(record).get("duration_s")) for axes, record in finished
    )
    energies = CellPredictor(
        (axes, record["summary"].get("run", {}).get("total_energy_j"), _of_training(record).get("total_energy_j"))
        for axes, record in finished
    )
    hardware = {one.cell.config.hardware.name: one.cell.config for one in found}
    memory = {name: device_memory_bytes(config) for name, config in hardware.items()}
    planned = []
    for one in found:
        reason = "" if elsewhere else impossible(one.cell.config, memory[one.cell.config.hardware.name])
        if one.state != "pending" or reason:
            planned.append(PlannedCell(one, reason))
        else:
            axes = planned_axes(one.cell.config)
            planned.append(PlannedCell(one, "", durations.predict(axes), energies.predict(axes)))
    return planned


def planned_axes(config: Config) -> dict[str, Any]:
    """A cell's axes as its record will have them; the device as far as it is known without asking it."""
    device = cpu_name() if config.hardware.accelerator == "cpu" else None
    return {**axes_of(config), "device_name": device, "work": _planned_work(config)}


def _planned_work(config: Config) -> float:
    """Sequences that a training is planned to take; 1 for other tasks, whose length is the protocol's."""
    if not isinstance(config.task, TrainTaskConfig):
        return 1.0
    sequences = float(config.task.steps * config.batch_size)
    context = config.task.context or getattr(config.model, "context_length", None)
    most = config.task.stop.tokens
    return sequences if most is None or context is None else min(sequences, most / context)


def _of_training(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a record says of its training; empty for other tasks."""
    training: Mapping[str, Any] = record["summary"].get("training", {})
    return training if training.get("steps") else {}


def _finished(results: Path) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Axes and records of every finished cell of every study in a results folder."""
    found: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    for study in sorted(path for path in results.glob("*") if path.is_dir()):
        for folder in record_folders(study):
            try:
                record = read_record(folder)
            except ValueError:
                continue
            if record is not None and record["status"] == "ok":
                axes = dict(record["cell"])
                if training := _of_training(record):
                    axes["work"] = training["steps"] * axes["batch_size"]
                if record["config"]["hardware"]["accelerator"] != "cpu":
                    axes["device_name"] = None
                found.append((axes, record))
    return found


def total(parts: Sequence[Interval | None]) -> tuple[Interval, int]:
    """Sum of predictions, whose ends are added up as if all erred in one direction; and how many there are."""
    known = [part for part in parts if part is not None]
    sums = [sum(getattr(part, name) for part in known) for name in ("value", "low", "high")]
    return Interval(*sums), len(known)
