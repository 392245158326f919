"""Cells handed to another engine through one of Hydra's launchers: joblib, submitit on this machine, or SLURM.

The launcher starts `run_one` somewhere; there a cell runs as in any sweep, in a process of its own, and leaves its
record in the results folder, which all machines must share. What comes back is read from there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig

from harness.config.compose import Cell, hydra_session, load_config, resolved_config
from harness.config.platform import ClusterConfig, HardwareConfig
from harness.errors import UserError, first_line
from harness.record.record import Record, read_record, record_from
from harness.runner.folders import run_folder
from harness.sweep.cells import Found
from harness.sweep.loop import Watcher
from harness.sweep.worker import identity_of, lost_elsewhere

# Hydra's own launcher: cells one after the other, which is what a sweep does by itself.
HERE = "basic"


def launch_cells(found: Sequence[Found], command: str, overrides: Sequence[str], watcher: Watcher) -> list[Record]:
    """Run cells through the launcher that `overrides` choose, and wait for all of them.

    Cells of unlike hardware are launched one kind after the other, each with what its option asks the cluster for.

    Raises:
        UserError: If the launcher cannot start.
    """
    kinds: dict[ClusterConfig, list[Found]] = {}
    for one in found:
        kinds.setdefault(asked_for(one.cell.config.hardware), []).append(one)
    records: list[Record] = []
    for cluster, alike in kinds.items():
        folder = _folder(alike[0].cell)
        files = _write_cells(alike, command, folder)
        trouble = _launch(files, folder, cluster, overrides)
        came_back = [_record(one, command, trouble) for one in alike]
        for one, record in zip(alike, came_back, strict=True):
            watcher.start_cell(one.cell.config)
            watcher.finish_cell(record)
        if all(record.status == "ok" for record in came_back):
            shutil.rmtree(folder, ignore_errors=True)
        records += came_back
    return records


def asked_for(hardware: HardwareConfig) -> ClusterConfig:
    """What a job of this hardware asks a cluster for."""
    cluster = hardware.cluster
    if hardware.accelerator == "cuda" and cluster.gpus is None:
        return replace(cluster, gpus=hardware.devices)
    return cluster


def _folder(cell: Cell) -> Path:
    """Where the launcher keeps its own files; the dot keeps it apart from runs."""
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    folder = Path(cell.config.paths.results_dir, cell.config.study, f".launcher-{moment}").absolute()
    folder.mkdir(parents=True)
    return folder


def _write_cells(found: Sequence[Found], command: str, folder: Path) -> list[Path]:
    files = []
    for number, one in enumerate(found):
        cell = one.cell
        config = resolved_config(cell.config)
        config["paths"]["results_dir"] = str(Path(cell.config.paths.results_dir).absolute())
        file = folder / f"cell-{number}.json"
        told = {"config": config, "overrides": list(cell.overrides), "seen": identity_of(one.record)}
        file.write_text(json.dumps({**told, "command": command}))
        files.append(file)
    return files


def _launch(files: Sequence[Path], folder: Path, cluster: ClusterConfig, overrides: Sequence[str]) -> str:
    """Start a job for each file and wait; returns what went wrong with the launching, or an empty string.

    Raises:
        UserError: If there is no such launcher, or it refuses its settings.
    """
    given = [override for override in overrides if override.startswith("hydra")]
    with hydra_session([*given, f"hydra.sweep.dir={folder}"], _cluster_overrides(cluster, given)) as config:
        loader = GlobalHydra.instance().config_loader()
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=loader, callbacks=_callbacks(config)),
            task_function=run_one,
            config=config,
        )
        try:
            launcher.launch([[f"+cell_file='{file}'"] for file in files], initial_job_idx=0)
        except FileNotFoundError as error:  # Such as sbatch, on a machine without SLURM.
            raise UserError(f"the launcher cannot start: {error}", remedy="use hydra/launcher=basic here") from error
        except Exception as error:  # A job that died raises here; the cells' records say which.
            return f"{type(error).__name__}: {first_line(error)}"
    return ""


def _callbacks(config: DictConfig) -> Any:
    from hydra._internal.callbacks import Callbacks

    return Callbacks(config)


def _cluster_overrides(cluster: ClusterConfig, given: Sequence[str]) -> list[str]:
    """What a hardware option asks a cluster for, as the launcher's settings; what the user gave wins."""
    name = next((override.partition("=")[2] for override in given if override.startswith("hydra/launcher=")), HERE)
    if not name.startswith("submitit"):
        return []
    asked: dict[str, str | int | None] = {
        "timeout_min": cluster.time_min,
        "cpus_per_task": cluster.cpus,
        "mem_gb": cluster.memory_gb,
        "gpus_per_node": cluster.gpus,
    }
    if name == "submitit_slurm":
        asked |= {"partition": cluster.partition, "constraint": cluster.constraint}
    known = [override.partition("=")[0] for override in given]
    return [
        f"hydra.launcher.{key}={value}"
        for key, value in asked.items()
        if value is not None and f"hydra.launcher.{key}" not in known
    ]


def _record(found: Found, command: str, trouble: str) -> Record:
    """What a cell left, or a record that says that it left nothing."""
    folder = run_folder(found.cell.config)
    before = identity_of(found.record)
    if identity_of(read_record(folder)) not in (None, before):
        return record_from(folder)
    reason = f"the job ended without a record; {trouble or 'its log is in .launcher-*'}"
    return lost_elsewhere(found.cell, command, reason)


def run_one(config: DictConfig) -> str:
    """What a job does: run the cell of a file, unless another process does; returns its status."""
    from harness.sweep.worker import Worker

    told = json.loads(Path(config.cell_file).read_text(encoding="utf-8"))
    cell = Cell(load_config(told["config"]), tuple(told["overrides"]))
    seen = tuple(told["seen"]) if told["seen"] else None
    answer = Worker().run(cell, told["command"], lambda report: None, seen)
    return answer.status if isinstance(answer, Record) else type(answer).__name__
