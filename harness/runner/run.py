"""One run, from configuration to result, and the record that it leaves."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch

from harness.backends.backend import backend_of
from harness.config.compose import Cell
from harness.config.model import FROM_NOTHING
from harness.config.platform import ProtocolConfig
from harness.config.schema import Config
from harness.data.corpus import TextSource
from harness.energy.choose import open_sources
from harness.energy.cuda import synchronize
from harness.energy.meter import EnergyMeter
from harness.energy.validity import Limits
from harness.errors import TimeLimitExceeded, UserError
from harness.load import implementation
from harness.metrics.efficiency import ratio
from harness.models.generation import weight_bytes
from harness.models.loaded import LoadedModel
from harness.record.record import Record
from harness.record.windows import write_power
from harness.runner.checkpoint import can_go_on
from harness.runner.folders import log_to, make_folder, remove_folders, run_folder
from harness.runner.limits import limits
from harness.runner.outcome import Findings, Started, make_record, stopped_by_user, write_run
from harness.runner.peaks import reset_peaks
from harness.runner.precision import require_supported
from harness.runner.progress import Progress, Report, Watch
from harness.runner.session import Session
from harness.runner.summary import run_energy

log = logging.getLogger("harness")

# Seconds between two reports: each sums up all windows, and the display redraws no more often.
REPORT_EVERY_S = 0.2


def run(config: Config, meter: EnergyMeter, folder: Path, progress: Progress, findings: Findings) -> None:
    """One cell, start to end: check, load model and text, do the task under the meter, note what was found.

    Raises:
        UserError: If the input is bad.
        Unsupported: If this device cannot run the cell.
    """
    require_supported(config)
    backend = backend_of(config)
    backend.require_supported(config)
    prepare(config)
    measure_idle(meter, config.protocol, "unloaded")
    with meter.window("load"):
        progress("load", 0, None)
        corpus, model = load(config)
    device = torch.device(config.hardware.accelerator)
    model = backend.prepare(config, model, meter)
    findings.data = {**corpus.provenance, "content_sha256": corpus.content_hash}
    findings.model = {
        **model.provenance,
        "trained": config.task.trains or (model.trained and config.model.kind not in FROM_NOTHING),
        "num_parameters": model.num_parameters,
        "num_parameters_non_embedding": model.num_parameters_non_embedding,
        "context_length": model.context_length,
        "weight_bytes": weight_bytes(model.network),
    }
    reset_peaks()  # Loading and compressing may need more than the work does.
    measure_idle(meter, config.protocol, "loaded, before")
    task = implementation(config.task)
    outcome = task(Session(config, model, corpus, meter, progress, folder))
    findings.quality = outcome.quality if model.trained or config.task.trains else {}
    findings.stop_reasons = outcome.stop_reasons
    findings.training, findings.generation = outcome.training, outcome.generation
    # Of weights that nobody trained no answer is right.
    graded = model.trained or config.task.trains
    findings.answers = outcome.answers if graded else {**outcome.answers, "joules_per_correct_answer": None}
    findings.model |= outcome.model
    model.network.to(device)  # Lightning has put it back into the host's memory.
    measure_idle(meter, config.protocol, "loaded, after")


def prepare(config: Config) -> None:
    """Threads and seeds of this process."""
    hardware = config.hardware
    sharing = hardware.devices if hardware.accelerator == "cpu" else 1
    torch.set_num_threads(hardware.threads or max(1, usable_cpus() // sharing))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.precision.compute == "tf32"
    pl.seed_everything(config.seed, verbose=False)


def load(config: Config) -> tuple[TextSource, LoadedModel]:
    """The text and the model of a cell.

    Raises:
        UserError: If either cannot be had, or they do not fit.
    """
    source: TextSource = implementation(config.data)(config.data)
    return source, backend_of(config).load(config, source)


def usable_cpus() -> int:
    """Logical CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure_idle(meter: EnergyMeter, protocol: ProtocolConfig, label: str) -> None:
    """A window in which this process does nothing, after a rest; none where the protocol has no idle baseline."""
    if protocol.idle_s > 0:
        time.sleep(protocol.cooldown_s)
        with meter.window("idle", label=label):
            time.sleep(protocol.idle_s)


def execute(cell: Cell, command: str, watch: Watch, *, keep_bad_input: bool = False) -> Record:
    """Run a cell in its folder and write its record, however it ends.

    Args:
        cell: What to run.
        command: The command line, for the record.
        watch: Told how far the run has come.
        keep_bad_input: Record bad input as a failed run, as a sweep does, rather than raise it.

    Raises:
        UserError: If the input is bad or the device cannot run it, and `keep_bad_input` is off; nothing is left behind.
        KeyboardInterrupt: If the user, or a scheduler, stops it; nothing is left behind but a training's checkpoint.
    """
    folder = run_folder(cell.config)
    made = make_folder(folder)
    started = Started.now()
    with log_to(folder / "run.log"), _meter(cell.config) as meter:
        findings = Findings()
        error: BaseException | None = None
        whole = meter.begin("run")
        try:
            with limits(cell.config):
                run(cell.config, meter, folder, reporting(meter, watch), findings)
        except (Exception, SystemExit, KeyboardInterrupt, TimeLimitExceeded) as raised:  # What it dies of is recorded.
            error = stopped_by_user(raised) or raised
        if isinstance(error, KeyboardInterrupt) or (isinstance(error, UserError) and not keep_bad_input):
            if not can_go_on(folder):
                remove_folders(made)
            raise error
        closed = meter.end(whole, ok=error is None, keep=False)
        record = make_record(cell, command, findings, error, meter, closed, started)
        log.info("ended: %s %s", record.status, record.reason)
        write_power(folder, meter)
        write_run(folder, record, meter.windows)
    return record


def reporting(meter: EnergyMeter, watch: Watch) -> Progress:
    """Progress of a run as reports, with what its closed windows hold so far; no more often than is looked at."""
    last_at = -math.inf

    def report(phase: str, done: int, total: int | None) -> None:
        nonlocal last_at
        now = time.perf_counter()
        if now - last_at <= REPORT_EVERY_S:
            return
        last_at = now
        windows = list(meter.windows)
        last = windows[-1] if windows else None
        rate = None if last is None else ratio(last.work.tokens, last.duration_s)
        watch(Report(phase, done, total, rate, run_energy(windows)))

    return report


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
        log.info("energy: %s: %s, %s; %s", source.component, source.method, source.source, source.detail)
        if source.remedy:
            log.info("energy: %s: for better figures, %s", source.component, source.remedy)
    try:
        yield meter
    finally:
        meter.close()
