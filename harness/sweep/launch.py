"""Cells handed to another engine through one of Hydra's launchers: joblib, submitit on this machine, or SLURM.

The launcher starts `run_one` somewhere; there a cell runs as in any sweep, in a process of its own, and leaves its
record in the results folder, which all machines must share. What comes back is read from there.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig

from harness.config.compose import Cell, hydra_session, is_hydras, launcher_of, load_config, resolved_config
from harness.config.platform import ClusterConfig, HardwareConfig
from harness.errors import UserError, first_line
from harness.record.environment import VARIABLES
from harness.record.record import Record, read_record, record_from
from harness.runner.folders import run_folder
from harness.sweep.answers import Busy, identity_of
from harness.sweep.cells import Found
from harness.sweep.claim import lock_file, wait_until_free
from harness.sweep.loop import Watcher
from harness.sweep.lost import lost_elsewhere

# Seconds for a shared file system to show what another machine has written.
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Job:
    """A cell, and the file that tells a job what to run; beside it the job leaves word that it began, and ended.

    Attributes:
        found: The cell.
        file: Its configuration.
    """

    found: Found
    file: Path

    @property
    def began(self) -> Path:
        """Written by the job at its start: its process."""
        return self.file.with_suffix(".began")

    @property
    def ended(self) -> Path:
        """Written by the job at its end: its cell's status."""
        return self.file.with_suffix(".ended")


def launch_cells(found: Sequence[Found], command: str, overrides: Sequence[str], watcher: Watcher) -> list[Record]:
    """Run cells through the launcher that `overrides` choose, and wait for all of them.

    Cells of unlike hardware are launched one kind after the other, each with what its option asks the cluster for. On
    this machine submitit's jobs go one after the other: side by side they would disturb each other's measurements.

    Raises:
        UserError: If the launcher cannot start.
        KeyboardInterrupt: If the user, or a scheduler, stops the sweep; the jobs are ended first.
    """
    kinds: dict[Any, list[Found]] = {}
    for number, one in enumerate(found):
        alone = number if launcher_of(overrides) == "submitit_local" else None
        kinds.setdefault((asked_for(one.cell.config.hardware), alone), []).append(one)
    records: list[Record] = []
    for (cluster, _), alike in kinds.items():
        records += _launch_alike(alike, cluster, command, overrides, watcher)
    return records


def _launch_alike(
    found: Sequence[Found], cluster: ClusterConfig, command: str, overrides: Sequence[str], watcher: Watcher
) -> list[Record]:
    folder = _folder(found[0].cell)
    jobs = [_write_job(one, number, command, folder) for number, one in enumerate(found)]
    try:
        trouble = _launch(jobs, folder, cluster, overrides)
        if trouble:
            _wait_for_others(jobs, folder)
    except (KeyboardInterrupt, UserError) as error:
        if isinstance(error, KeyboardInterrupt):
            _cancel(jobs, folder)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    records = []
    for job in jobs:
        watcher.start_cell(job.found.cell.config)
        records.append(_record(job, command, trouble))
        watcher.finish_cell(records[-1])
    if all(job.ended.is_file() for job in jobs):
        shutil.rmtree(folder, ignore_errors=True)
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


def _write_job(found: Found, number: int, command: str, folder: Path) -> Job:
    config = resolved_config(found.cell.config)
    config["paths"]["results_dir"] = str(Path(found.cell.config.paths.results_dir).absolute())
    told = {
        "config": config,
        "overrides": list(found.cell.overrides),
        "command": command,
        "seen": identity_of(found.record),
        "variables": {name: os.environ.get(name) for name in VARIABLES},
    }
    file = folder / f"cell-{number}.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    return Job(found, file)


def _launch(jobs: Sequence[Job], folder: Path, cluster: ClusterConfig, overrides: Sequence[str]) -> str:
    """Start the jobs and wait; returns what went wrong with one of them, or an empty string.

    Raises:
        UserError: If there is no such launcher, or it could not start any job.
    """
    given = [override for override in overrides if is_hydras(override)]
    limit_s = jobs[0].found.cell.config.time_limit_s
    more = [f"hydra.sweep.dir={quoted(str(folder))}", *_cluster_overrides(cluster, given, limit_s)]
    with hydra_session(given, more) as config:
        loader = GlobalHydra.instance().config_loader()
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=loader, callbacks=_callbacks(config)),
            task_function=run_one,
            config=config,
        )
        try:
            launcher.launch([[f"+cell_file={quoted(str(job.file))}"] for job in jobs], initial_job_idx=0)
        except Exception as error:  # A job that died raises here; the cells' records say which.
            if not _job_ids(folder) and not any(job.began.is_file() for job in jobs):
                raise UserError(
                    f"hydra/launcher={launcher_of(overrides)} cannot start a job: {first_line(error)}",
                    remedy="check hydra.launcher.* and hardware.cluster.*; hydra/launcher=basic runs cells here",
                ) from error
            return f"{type(error).__name__}: {first_line(error)}"
    return ""


def _callbacks(config: DictConfig) -> Any:
    from hydra._internal.callbacks import Callbacks

    return Callbacks(config)


def quoted(text: str) -> str:
    """A text as one value of Hydra's grammar, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _cluster_overrides(cluster: ClusterConfig, given: Sequence[str], time_limit_s: float | None) -> list[str]:
    """What a hardware option asks a cluster for, as the launcher's settings; what the user gave wins."""
    name = launcher_of(given)
    if not name.startswith("submitit"):
        return []
    minutes = cluster.time_min
    if minutes is None and time_limit_s is not None:
        minutes = math.ceil(time_limit_s / 60) + 5
    if minutes is None and name == "submitit_local":
        minutes = 7 * 24 * 60  # It would stop a job after an hour.
    asked: dict[str, str | int | None] = {
        "timeout_min": minutes,
        "cpus_per_task": cluster.cpus,
        "mem_gb": cluster.memory_gb,
        "gpus_per_node": cluster.gpus,
    }
    if name == "submitit_slurm":
        asked |= {"partition": cluster.partition, "constraint": cluster.constraint}
    known = [override.lstrip("+~").partition("=")[0] for override in given]
    return [
        f"hydra.launcher.{key}={quoted(value) if isinstance(value, str) else value}"
        for key, value in asked.items()
        if value is not None and f"hydra.launcher.{key}" not in known
    ]


def _job_ids(folder: Path) -> list[str]:
    """Numbers of the jobs that submitit has started, arrays without their parts."""
    return sorted({path.name.split("_")[0] for path in folder.glob(".submitit/*") if path.name[:1].isdigit()})


def _wait_for_others(jobs: Sequence[Job], folder: Path) -> None:
    """One job has died; wait until the others are over too."""
    while any(not job.ended.is_file() for job in jobs) and (_queued(folder) or any(map(_works, jobs))):
        time.sleep(2.0)


def _works(job: Job) -> bool:
    """Whether a job's cell is being worked on."""
    return not job.ended.is_file() and lock_file(run_folder(job.found.cell.config)).exists() and job.began.is_file()


def _queued(folder: Path) -> bool:
    """Whether SLURM still knows any of the jobs."""
    ids = _job_ids(folder)
    if not ids or shutil.which("squeue") is None:
        return False
    done = subprocess.run(["squeue", "--noheader", f"--jobs={','.join(ids)}"], capture_output=True, text=True)
    return done.returncode == 0 and bool(done.stdout.strip())


def _cancel(jobs: Sequence[Job], folder: Path) -> None:
    """End the jobs: those of SLURM by their numbers, those on this machine by their processes."""
    ids = _job_ids(folder)
    if ids and shutil.which("scancel") is not None:
        subprocess.run(["scancel", *ids], capture_output=True)
    for job in jobs:
        if job.began.is_file() and not job.ended.is_file():
            host, _, process = job.began.read_text().partition(" ")
            if host == os.uname().nodename:
                with suppress(ProcessLookupError, ValueError):
                    os.kill(int(process), signal.SIGKILL)  # Its cell's process goes with it.


def _record(job: Job, command: str, trouble: str) -> Record:
    """What a cell left, or a record that says that it left nothing."""
    folder, before = run_folder(job.found.cell.config), identity_of(job.found.record)
    deadline = time.perf_counter() + (PATIENCE_S if job.ended.is_file() else 0.0)
    while True:
        with suppress(ValueError):
            if identity_of(read_record(folder)) not in (None, before):
                return record_from(folder)
        if time.perf_counter() >= deadline:
            break
        time.sleep(0.2)
    began = job.began.is_file()
    said = job.ended.read_text(encoding="utf-8") if job.ended.is_file() else ""
    reason = f"the job {'ended' if began else 'never began, or ended'} without a record; {said or trouble}"
    return lost_elsewhere(job.found.cell, command, reason.strip(" ;"), before, write=began)


def run_one(config: DictConfig) -> str:
    """What a job does: run the cell of a file, after another process if that has it; returns its status."""
    from harness.sweep.worker import Worker

    file = Path(config.cell_file)
    file.with_suffix(".began").write_text(f"{os.uname().nodename} {os.getpid()}")
    told = json.loads(file.read_text(encoding="utf-8"))
    _restore(told["variables"])
    multiprocessing.set_start_method(
        "forkserver", force=True
    )  # joblib's workers have a method that others do not know.
    cell = Cell(load_config(told["config"]), tuple(told["overrides"]))
    seen = tuple(told["seen"]) if told["seen"] else None
    status = "no answer"
    try:
        while isinstance(answer := Worker().run(cell, told["command"], lambda report: None, seen), Busy):
            wait_until_free(run_folder(cell.config))
        status = answer.status if isinstance(answer, Record) else "done by another sweep"
    except Exception as error:
        status = f"{type(error).__name__}: {first_line(error)}"
        raise
    finally:
        file.with_suffix(".ended").write_text(status, encoding="utf-8")
    return status


def _restore(variables: dict[str, str | None]) -> None:
    """Variables of the environment that decide how many threads there are, as they were where the sweep began.

    What a scheduler gives a job, such as its GPUs, stays.
    """
    for name, value in variables.items():
        if name.startswith("CUDA") and "SLURM_JOB_ID" in os.environ:
            continue
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
