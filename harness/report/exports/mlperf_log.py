"""MLPerf's log format: one file of `:::MLLOG {json}` lines a run.

Keys and the order of fields are those of `mlperf_logging.mllog` (constants.py, mllog.py). The format is MLPerf's; the
benchmarks and rules are not, so that a file is no MLPerf submission: organisation, division and entry are not in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from harness.report.exports import Study, dig, write_text
from harness.report.files import CURVE, WINDOWS

# Key of the log: where a record says it. What a record does not say is not logged.
FACTS = {
    "submission_benchmark": "cell.model",
    "submission_platform": "cell.device_name",
    "seed": "cell.seed",
    "global_batch_size": "cell.batch_size",
    "max_sequence_length": "quality.protocol.context",
    "opt_name": "config.task.optimizer.name",
    "opt_base_learning_rate": "config.task.optimizer.learning_rate",
    "opt_learning_rate_warmup_steps": "config.task.optimizer.warmup_steps",
    "opt_learning_rate_decay_schedule": "config.task.optimizer.schedule",
    "opt_weight_decay": "config.task.optimizer.weight_decay",
    "opt_gradient_clip_norm": "config.task.optimizer.gradient_clip_norm",
    "eval_samples": "quality.translated_pairs",
}
# The log has keys of its own for each optimiser.
OPTIMIZER_FACTS = {"beta_1": "beta1", "beta_2": "beta2", "epsilon": "epsilon"}

# What `eval_accuracy` is, as in MLPerf a quality and not always an accuracy: the first that the run has.
ACCURACY = ("bleu", "accuracy", "pass_at_k", "exact_match", "rouge_l", "pseudo_perplexity", "perplexity")

COLUMNS = ("phase", "repeat", "label", "start_s", "duration_s", "samples")  # Of windows.
_EVALUATIONS = ("validate", "score", "translate")


@dataclass(frozen=True)
class Event:
    """One line of a log.

    Attributes:
        time_ms: Milliseconds since the epoch.
        event_type: INTERVAL_START, INTERVAL_END or POINT_IN_TIME.
        key: What is logged.
        value: Its value; None for the ends of intervals.
        metadata: More about it.
    """

    time_ms: int
    event_type: str
    key: str
    value: Any
    metadata: dict[str, Any]

    @property
    def line(self) -> str:
        """The line, without its end."""
        fields = {"namespace": "", **vars(self)}
        return f":::MLLOG {json.dumps(fields, allow_nan=False)}"


def write(study: Study) -> list[Path]:
    """Write one log a run into mlperf-log/; returns the files."""
    return [_write_run(study, run_id, record) for run_id, record in study.collected.records.items()]


def events(record: Mapping[str, Any], windows: pd.DataFrame, curve: pd.DataFrame | None) -> list[Event]:
    """A run's events in the order of their times.

    The run (`run_start` to `run_stop`) lasts from the first window of the main phase to the last or to the last
    validation, training's warm-up included; each window of it is a block. A run that did not end well lasts to the end
    of its record. What the finished model is worth on held-out text follows at the record's end.

    Args:
        record: The run's record.
        windows: Its windows; empty where there are none, or their times count from the starts of several processes.
        curve: Its quality curve, if it has one.
    """
    begin, end = _span_ms(record)
    intervals = _with_kinds(windows, dig(record, "summary.main_phase"), begin)
    blocks = intervals[intervals["kind"] == "block"]
    of_run = intervals[(intervals["kind"] == "block") | (intervals["phase"] == "validate")]
    opened = begin if blocks.empty else int(blocks["from_ms"].min())
    closed = end if blocks.empty or record["status"] != "ok" else int(of_run["to_ms"].max())
    found = [
        Event(begin, "INTERVAL_START", "init_start", None, {}),
        *_facts(record, blocks, begin),
        Event(opened, "INTERVAL_END", "init_stop", None, {}),
        Event(opened, "INTERVAL_START", "run_start", None, {}),
        *_interval_events(intervals, curve),
        Event(closed, "INTERVAL_END", "run_stop", None, _outcome(record)),
        *_accuracy(record, end),
    ]
    return sorted(found, key=lambda event: event.time_ms)


def _with_kinds(windows: pd.DataFrame, main_phase: str, begin_ms: int) -> pd.DataFrame:
    """The windows that are blocks or evaluations, in order, with their edges in milliseconds since the epoch."""
    evaluation = windows["phase"].isin(_EVALUATIONS) & windows["repeat"].isna()
    main = (windows["label"] == "training") | (windows["phase"] == main_phase)
    marked = windows.assign(
        kind=evaluation.map({True: "eval", False: "block"}),
        from_ms=(begin_ms + windows["start_s"] * 1000).astype(int),
        to_ms=(begin_ms + (windows["start_s"] + windows["duration_s"]) * 1000).astype(int),
    )
    return marked[main | evaluation].sort_values("start_s", kind="stable")


def _write_run(study: Study, run_id: str, record: Mapping[str, Any]) -> Path:
    files = study.collected.files
    found = events(record, _windows(record, files.read(run_id, WINDOWS)), files.read(run_id, CURVE))
    return write_text(study.exports / "mlperf-log" / f"{run_id}.txt", "".join(f"{event.line}\n" for event in found))


def _windows(record: Mapping[str, Any], windows: pd.DataFrame | None) -> pd.DataFrame:
    """The windows, if their times count from the run's start: after an interruption, they count from another's."""
    if windows is None or windows.empty or dig(record, "summary.training.interruptions"):
        return pd.DataFrame({name: pd.Series(dtype=float) for name in COLUMNS})
    return windows.reindex(columns=[*COLUMNS]).dropna(subset=["phase", "start_s", "duration_s"])


def _span_ms(record: Mapping[str, Any]) -> tuple[int, int]:
    begin = datetime.fromisoformat(record["started_at"]).timestamp()
    return int(begin * 1000), int((begin + record["duration_s"]) * 1000)


def _facts(record: Mapping[str, Any], blocks: pd.DataFrame, at_ms: int) -> list[Event]:
    optimizer = dig(record, "config.task.optimizer.name")
    paths = dict(FACTS)
    if optimizer is not None:
        paths |= {f"opt_{optimizer}_{key}": f"config.task.optimizer.{name}" for key, name in OPTIMIZER_FACTS.items()}
    values = {key: dig(record, path) for key, path in paths.items()}
    if dig(record, "summary.main_phase") == "train" and not blocks.empty:
        values["trained_samples"] = int(blocks["samples"].sum())
    return [Event(at_ms, "POINT_IN_TIME", key, value, {}) for key, value in values.items() if value is not None]


def _interval_events(intervals: pd.DataFrame, curve: pd.DataFrame | None) -> list[Event]:
    """Blocks and evaluations with the samples that were done until then, and what each validation found."""
    validations = int((intervals["phase"] == "validate").sum())
    # Points belong to validations only where each has one.
    points = iter(curve.to_dict("records") if curve is not None and len(curve) == validations else [])
    done, found = 0, []
    for window in intervals.to_dict("records"):
        kind, phase = window["kind"], window["phase"]
        begun = {"phase": phase, "samples_count": done}
        found.append(Event(window["from_ms"], "INTERVAL_START", f"{kind}_start", None, begun))
        if kind == "block" and not pd.isna(window["samples"]):
            done += int(window["samples"])
        ended = {"phase": phase, "samples_count": done}
        found.append(Event(window["to_ms"], "INTERVAL_END", f"{kind}_stop", None, ended))
        point = next(points, None) if phase == "validate" else None
        if point is not None and math.isfinite(point["perplexity"]):  # JSON has no word for a training that diverged.
            metadata = {"metric": "perplexity", "split": "validation", "step_num": point["step"], "samples_count": done}
            found.append(Event(window["to_ms"], "POINT_IN_TIME", "eval_accuracy", point["perplexity"], metadata))
    return found


def _accuracy(record: Mapping[str, Any], at_ms: int) -> list[Event]:
    """The quality of the finished run, at its end."""
    quality = record.get("quality", {})
    name = next((name for name in ACCURACY if quality.get(name) is not None), None)
    if name is None:
        return []
    metadata = {"metric": name, "split": dig(record, "quality.protocol.split")}
    return [Event(at_ms, "POINT_IN_TIME", "eval_accuracy", quality[name], metadata)]


def _outcome(record: Mapping[str, Any]) -> dict[str, Any]:
    """`success` as MLPerf means it: the run ended well and met its target, if it had one."""
    success = record["status"] == "ok" and dig(record, "summary.training.target_met") is not False
    return {
        "status": "success" if success else "aborted",
        "joulebench_status": record["status"],
        "run_energy_j": dig(record, "summary.run.total_energy_j"),
        "energy_method": dig(record, "summary.run.energy_method"),
    }
