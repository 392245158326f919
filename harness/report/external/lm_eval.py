"""lm-eval's results_*.json: a row a task.

Read and written against 0.4.13 (`lm_eval/evaluator_utils.py`, `lm_eval/loggers/evaluation_tracker.py`). Metrics stand
under `results`, by task, as `metric,filter`. Not read are those that share a name with a column and mean another thing:
`perplexity` (of LAMBADA: of a last word, not of a token) and `f1` (of a classification).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.metrics.registry import BY_NAME
from harness.report.external.rows import Row, dig, number, positive, precision_of, read_json, readable_id, wrong_file

_EXPECTED = "lm-eval's results_*.json with the keys results and config"
_REMEDY = "give the file, or the folder, that `lm-eval run --output_path` wrote"

# Our column, and the metrics that fill it, the preferred first; accuracy as in the task lm-eval of this harness.
_METRICS = {
    "word_perplexity": ("word_perplexity",),
    "byte_perplexity": ("byte_perplexity",),
    "bits_per_byte": ("bits_per_byte",),
    "accuracy": ("acc", "acc_norm", "exact_match"),
    "exact_match": ("exact_match",),
    "pass_at_k": ("pass@1", "pass_at_1"),
    "bleu": ("bleu",),
    "chrf": ("chrf",),
    "rouge1": ("rouge1",),
    "rouge2": ("rouge2",),
    "rouge_l": ("rougeL",),
}
_FRACTIONS = {"accuracy", "exact_match", "pass_at_k", "rouge1", "rouge2", "rouge_l"}
# sacreBLEU's score of the corpus only where lm-eval's aggregation of that name made it: some tasks average another
# library's score, of 0 to 1, of each sentence.
_CORPUS = {"bleu", "chrf"}
# Standard errors on either side in a 95 % interval.
_COVERAGE = 1.96


def read_lm_eval(path: Path) -> list[Row]:
    """The tasks and groups of a result file; those without a metric that we have a column for are left out.

    Raises:
        UserError: If it is no such file, none of its metrics is known, or a fraction is outside 0 to 1.
    """
    found = read_json(path, _EXPECTED, _REMEDY)
    results = found.get("results")
    if not isinstance(results, dict) or not isinstance(found.get("config"), dict):
        raise wrong_file(path, "has no results or no config", _EXPECTED, _REMEDY)
    quality = {task: _quality(dig(found, "configs", task), metrics, task, path) for task, metrics in results.items()}
    known = {task: columns for task, columns in quality.items() if columns}
    if not known:
        metrics = sorted({name for columns in _METRICS.values() for name in columns})
        raise wrong_file(path, f"none of {', '.join(metrics)} in it", _EXPECTED, _REMEDY)
    run = _run(found, path)
    return [
        {**run, "run_id": readable_id("lm-eval", task, run["model"], run["precision"]), "data": task, **columns}
        for task, columns in known.items()
    ]


def _run(found: Mapping[str, Any], path: Path) -> Row:
    """What all tasks of a file share."""
    config = found["config"]
    device = str(config.get("device") or "").split(":")[0]
    started = number(found.get("date"))
    batch_size = str(config.get("batch_size"))
    return {
        "study": "lm-eval",
        "status": "ok",
        "task": "lm-eval",
        "model": found.get("model_name") or _model_argument(config, ("pretrained", "model", "path")),
        "num_parameters": positive(config.get("model_num_parameters")),
        "batch_size": int(batch_size) if batch_size.isdigit() else None,
        "precision": precision_of(config.get("model_dtype") or _model_argument(config, ("dtype",))),
        "hardware": device or None,
        "device_name": _device_name(str(found.get("pretty_env_info", "")), device),
        "seed": config.get("random_seed"),
        "started_at": None if started is None else datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "origin": f"lm-eval {found.get('lm_eval_version', '')}".strip() + f", {path.name}",
    }


def _model_argument(config: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """One of the model's arguments, which are an object since 0.4.9 and `name=value,...` before."""
    arguments = config.get("model_args") or {}
    if isinstance(arguments, str):
        arguments = dict(pair.split("=", 1) for pair in arguments.split(",") if "=" in pair)
    return next((str(arguments[name]) for name in names if arguments.get(name)), None)


def _device_name(environment: str, device: str) -> str | None:
    """The GPU's or the CPU's name in what torch.utils.collect_env says."""
    pattern = {"cuda": r"^GPU 0: (.+)$", "cpu": r"^Model name: *(.+)$"}.get(device)
    found = re.search(pattern, environment, re.MULTILINE) if pattern else None
    return found.group(1).strip() if found else None


def _quality(config: Any, metrics: Mapping[str, Any], task: str, path: Path) -> Row:
    """Known metrics of a task, each by its first filter, and 95 % intervals from their standard errors."""
    columns: Row = {}
    for column, names in _METRICS.items():
        key = next((key for name in names for key in metrics if key.split(",")[0] == name), None)
        value = None if key is None else number(metrics[key])
        if key is None or value is None or (column in _CORPUS and not _of_corpus(config, column)):
            continue
        if column in _FRACTIONS and not 0 <= value <= 1:
            remedy = "import it as tidy-csv=PATH, with a scale"
            raise wrong_file(path, f"{key} of {task} is {value}", "a fraction, from 0 to 1", remedy)
        columns[column] = value
        error = number(metrics.get(key.replace(",", "_stderr,", 1)))
        if error is not None and f"{column}_ci_low" in BY_NAME:
            columns[f"{column}_ci_low"] = max(0.0, value - _COVERAGE * error)
            high = value + _COVERAGE * error
            columns[f"{column}_ci_high"] = min(1.0, high) if column in _FRACTIONS else high
    return columns


def _of_corpus(config: Any, metric: str) -> bool:
    """Whether a task leaves a metric to lm-eval's aggregation of its name, which is the default."""
    entries = [entry for entry in dig(config, "metric_list") or [] if entry.get("metric") == metric]
    return bool(entries) and entries[0].get("aggregation", metric) == metric
