"""How a run ended, as a record."""

from __future__ import annotations

import errno
import signal
import time
import traceback
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from harness.config.axes import axes_of
from harness.config.compose import Cell, resolved_config
from harness.config.fingerprint import fingerprint, run_id
from harness.config.schema import Config
from harness.data.cache import atomic_path
from harness.energy.meter import EnergyMeter, Window
from harness.errors import TimeLimitExceeded, Unsupported, UserError
from harness.record.environment import describe_environment, environment_fingerprint
from harness.record.record import Record, Status, write_record
from harness.record.windows import write_windows
from harness.runner.precision import device_name
from harness.runner.summary import invalid, own_cost, run_energy, summarise
from harness.runner.turns import turns_are_taken, waited_s


@dataclass
class Findings:
    """What a run has found so far; whatever is here when it fails still reaches the record."""

    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    stop_reasons: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Started:
    """When a run began, by the wall clock for people and by the monotonic one for durations."""

    at: datetime
    clock_s: float

    @classmethod
    def now(cls) -> Started:
        """This moment."""
        return cls(datetime.now(UTC), time.perf_counter())

    @property
    def as_fields(self) -> dict[str, Any]:
        """The record's fields of time."""
        return {
            "started_at": self.at.isoformat(timespec="seconds"),
            "duration_s": time.perf_counter() - self.clock_s - waited_s(),
        }


def make_record(
    cell: Cell,
    command: str,
    findings: Findings,
    error: BaseException | None,
    meter: EnergyMeter,
    whole: Window,
    started: Started,
) -> Record:
    """The record of a run that ended with `error`, or without one; `whole` is the window around all of it."""
    facts = {"training": findings.training, "generation": findings.generation, "answers": findings.answers}
    sources = meter.describe()
    summary = summarise(meter.windows, cell.config, findings.stop_reasons, facts)
    status, reason = classify(error)
    if status == "ok" and (doubts := invalid(summary, findings.quality, cell.config.protocol)):
        status, reason = "invalid", doubts
    return Record(
        status=status,
        reason=reason,
        overrides=list(cell.overrides),
        command=command,
        model=findings.model,
        data=findings.data,
        quality=findings.quality,
        summary={
            **summary,
            # Where cells take turns, the window around all is also around others.
            "run": run_energy(meter.windows if turns_are_taken() else [whole]),
            "update_periods_s": {source.component: source.update_period_s for source in sources},
            "harness": own_cost(meter, time.perf_counter() - started.clock_s),
        },
        energy_sources=[asdict(source) for source in sources],
        **identity(cell.config),
        **started.as_fields,
    )


def stopped_by_user(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that ended a run, if one did; Lightning turns it into an exit, and stops listening to others."""
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return error.__context__
    return error if isinstance(error, KeyboardInterrupt) else None


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
    return {**axes_of(config), "device_name": device_name(config.hardware), "seed": config.seed}


def classify(error: BaseException | None) -> tuple[Status, str]:
    """The status of a run that ended with `error`, and the reason as text."""
    if error is None:
        return "ok", ""
    if isinstance(error, TimeLimitExceeded):
        return "timeout", str(error)
    if isinstance(error, Unsupported):
        return "unsupported", error.what
    if isinstance(error, UserError):
        return "failed", error.render()
    trace = "".join(traceback.format_exception(error)[-6:])
    return ("oom" if _out_of_memory(error) else "failed"), trace


_NO_MEMORY = (
    *("can't allocate memory", "cannot allocate memory", "std::bad_alloc", "CUDA error: out of memory"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "Failed to allocate memory"),
)


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it comes from, is a lack of memory, by its type or what libraries say."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if any(words.lower() in str(error).lower() for words in _NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_run(folder: Path, record: Record, windows: list[Window]) -> None:
    """Write a run's files, the record last: a folder with a record is complete."""
    write_windows(folder, windows)
    with atomic_path(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(record.config, sort_keys=False), encoding="utf-8")
    write_record(folder, record)
