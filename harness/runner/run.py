"""One run, from configuration to result, and the record that it leaves."""

from __future__ import annotations

import logging
import os
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml

from harness.config.compose import Cell, resolved_config
from harness.config.fingerprint import fingerprint, run_id
from harness.config.platform import ProtocolConfig
from harness.config.schema import Config
from harness.data.corpus import Corpus
from harness.energy.choose import open_sources
from harness.energy.meter import EnergyMeter, Window
from harness.energy.validity import Limits
from harness.errors import Unsupported, UserError
from harness.load import implementation
from harness.models.loaded import LoadedModel
from harness.record.environment import describe_environment, environment_fingerprint
from harness.record.record import Record, Status, write_record
from harness.record.windows import write_power, write_windows
from harness.runner.folders import log_to, make_folder, remove_folders
from harness.runner.metering import Progress
from harness.runner.precision import DTYPES, device_name, require_supported, synchronize
from harness.runner.session import Session
from harness.runner.summary import invalid, own_cost, summarise

log = logging.getLogger("harness")


@dataclass
class Findings:
    """What a run has found so far; whatever is here when it fails still reaches the record."""

    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    stop_reasons: dict[str, str] = field(default_factory=dict)


def run(config: Config, meter: EnergyMeter, folder: Path, progress: Progress, findings: Findings) -> None:
    """One cell, start to end: check, load model and text, do the task under the meter, note what was found.

    Raises:
        UserError: If the input is bad.
        Unsupported: If this device cannot run the cell.
    """
    require_supported(config.precision, config.hardware)
    torch.set_num_threads(config.hardware.threads or len(os.sched_getaffinity(0)))
    pl.seed_everything(config.seed, verbose=False)
    measure_idle(meter, config.protocol, "unloaded")
    with meter.window("load"):
        progress("load", 0, None)
        corpus: Corpus = implementation(config.data)(config.data)
        cache_dir = Path(config.paths.cache_dir).expanduser()
        dtype = DTYPES[config.precision.weights]
        model: LoadedModel = implementation(config.model)(config.model, corpus, cache_dir, dtype)
    findings.data = {**corpus.provenance, "content_sha256": corpus.content_hash}
    findings.model = {
        **model.provenance,
        "num_parameters": model.num_parameters,
        "num_parameters_non_embedding": model.num_parameters_non_embedding,
        "context_length": model.context_length,
    }
    measure_idle(meter, config.protocol, "loaded, before")
    task = implementation(config.task)
    outcome = task(Session(config, model, corpus, meter, progress, folder))
    findings.quality, findings.stop_reasons = outcome.quality, outcome.stop_reasons
    measure_idle(meter, config.protocol, "loaded, after")


def measure_idle(meter: EnergyMeter, protocol: ProtocolConfig, label: str) -> None:
    """A window in which this process does nothing, after a rest; none where the protocol has no idle baseline."""
    if protocol.idle_s > 0:
        time.sleep(protocol.cooldown_s)
        with meter.window("idle", label=label):
            time.sleep(protocol.idle_s)


def execute(cell: Cell, command: str, progress: Progress, *, keep_bad_input: bool = False) -> Record:
    """Run a cell in its folder and write its record, however it ends.

    Args:
        cell: What to run.
        command: The command line, for the record.
        progress: Told how far the run has come.
        keep_bad_input: Record bad input as a failed run, as a sweep does, rather than raise it.

    Raises:
        UserError: If the input is bad or the device cannot run it, and `keep_bad_input` is off; nothing is left behind.
        KeyboardInterrupt: If the user stops it; nothing is left behind.
    """
    config = cell.config
    folder = run_folder(config)
    made = make_folder(folder)
    started_at, started = datetime.now(UTC), time.perf_counter()
    with log_to(folder / "run.log"), _meter(config) as meter:
        findings = Findings()
        try:
            run(config, meter, folder, progress, findings)
            error: BaseException | None = None
        except (Exception, SystemExit, KeyboardInterrupt) as raised:  # Whatever a run dies of becomes its record.
            error = raised
        if stopped_by_user(error):
            remove_folders(made)
            raise KeyboardInterrupt
        if isinstance(error, UserError) and not keep_bad_input:
            remove_folders(made)
            raise error
        summary = summarise(meter.windows, config, findings.stop_reasons)
        status, reason = classify(error)
        if status == "ok" and (doubts := invalid(summary, config.protocol)):
            status, reason = "invalid", doubts
        log.info("ended: %s %s", status, reason)
        record = Record(
            status=status,
            reason=reason,
            overrides=list(cell.overrides),
            command=command,
            model=findings.model,
            data=findings.data,
            quality=findings.quality,
            summary={**summary, "harness": own_cost(meter, time.perf_counter() - started)},
            energy_sources=[asdict(source) for source in meter.describe()],
            started_at=started_at.isoformat(timespec="seconds"),
            duration_s=time.perf_counter() - started,
            **identity(config),
        )
        write_power(folder, meter)
        write_run(folder, record, meter.windows)
    return record


def stopped_by_user(error: BaseException | None) -> bool:
    """Whether a run ended by Ctrl-C; Lightning turns it into an exit, and stops listening to further ones."""
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return True
    return isinstance(error, KeyboardInterrupt)


def run_folder(config: Config) -> Path:
    """Where a cell's run lands."""
    return Path(config.paths.results_dir) / config.study / run_id(config)


def identity(config: Config) -> dict[str, Any]:
    """The parts of a record that are known before anything runs: the cell, and where it runs."""
    environment = describe_environment()
    return {
        "study": config.study,
        "run_id": run_id(config),
        "fingerprint": fingerprint(config),
        "cell": cell_axes(config),
        "config": resolved_config(config),
        "environment": environment,
        "environment_fingerprint": environment_fingerprint(environment),
    }


def cell_axes(config: Config) -> dict[str, Any]:
    """The cell's axes by name."""
    return {
        "task": config.task.name,
        "model": config.model.label,
        "data": config.data.label,
        "batch_size": config.batch_size,
        "precision": config.precision.name,
        "hardware": config.hardware.name,
        "device_name": device_name(config.hardware),
        "protocol": config.protocol.name,
        "seed": config.seed,
    }


def classify(error: BaseException | None) -> tuple[Status, str]:
    """The status of a run that ended with `error`, and the reason as text."""
    if error is None:
        return "ok", ""
    if isinstance(error, Unsupported):
        return "unsupported", error.what
    if isinstance(error, UserError):
        return "failed", error.render()
    trace = "".join(traceback.format_exception(error)[-6:])
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return "oom", trace
    return "failed", trace


def write_run(folder: Path, record: Record, windows: list[Window]) -> None:
    """Write a run's files, the record last: a folder with a record is complete."""
    write_windows(folder, windows)
    (folder / "config.yaml").write_text(yaml.safe_dump(record.config, sort_keys=False), encoding="utf-8")
    write_record(folder, record)


@contextmanager
def _meter(config: Config) -> Iterator[EnergyMeter]:
    """The run's meter over the sources that its options ask for."""
    sources = open_sources(config.energy, config.hardware)
    limits = Limits(
        shortest_s=config.protocol.window_s,
        foreign_cpu_share=config.protocol.max_foreign_cpu_share,
        temperature_drift_c=config.protocol.max_temperature_drift_c,
    )
    meter = EnergyMeter(sources, synchronize, limits)
    for source in meter.describe():
        log.info("energy: %s: %s, %s %s", source.component, source.method, source.source, source.detail)
    try:
        yield meter
    finally:
        meter.close()
