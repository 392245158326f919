"""Results of the ML.ENERGY benchmark's language models: a row a configuration.

Three kinds of file of the repositories ml-energy/benchmark and ml-energy/leaderboard are read:

* version 3, results.json of a run (`mlenergy/llm/benchmark.py`),
* version 3, data of the leaderboard by model or by task (`public/data/models/*.json`, `public/data/tasks/*.json`),
* version 2, data of the leaderboard (`data/llm_text_generation/*/<GPU>/<model>/*.json`).

Energy is Zeus's of all GPUs over the steady state, by NVML's energy counter: `ZeusMonitor` reads it on GPUs since
Volta (`zeus/monitor/energy.py`), which vLLM, the server of these benchmarks, needs anyway. Prefill and decode are mixed
in that window, so the task is `serve`, its tokens are output tokens, and no decode column is filled. Energy per request
is energy per output token times the mean output length, as the benchmark defines it. The batch size is the server's
limit of sequences, which the published runs keep nearly full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.energy.figure import Method
from harness.report.external.rows import (
    Row,
    dig,
    positive,
    precision_of,
    product,
    quotient,
    read_json,
    readable_id,
    wrong_file,
)

_EXPECTED = (
    "a result of ML.ENERGY's language models: results.json or leaderboard data of version 3, or data of version 2"
)
_REMEDY = "give such a file, or a folder of them; those of image and video models are not read"
_MS = 1e-3
_PERCENTILES = ("p50", "p90", "p99")
_COMMON = {"study": "ml-energy", "status": "ok", "task": "serve", "hardware": "cuda"}


def read_ml_energy(path: Path) -> list[Row]:
    """The configurations of a file.

    Raises:
        UserError: If it is none of the three kinds.
    """
    found = read_json(path, _EXPECTED, _REMEDY)
    for key, read in _KINDS.items():
        if key in found:
            return [{**_COMMON, **row} for row in read(found, path)]
    raise wrong_file(path, f"has the keys {', '.join(list(found)[:6])}", _EXPECTED, _REMEDY)


def _version_2(found: Mapping[str, Any], path: Path) -> list[Row]:
    output = positive(found.get("Avg Output Tokens"))
    request = positive(found.get("Energy/req (J)"))
    gpus = product(positive(found.get("TP")), positive(found.get("PP")))
    # .../llm_text_generation/<task>/<GPU>/<owner>/<model>/bs128+tp1+pp1.json
    folders = path.absolute().parts
    task = folders[-5] if "llm_text_generation" in folders[-6:-5] else None
    served = _served(quotient(request, output), positive(found.get("Token tput (tok/s)")), output)
    batch = positive(found.get("Max BS (reqs)"))
    return [_named(found.get("Model"), task, found.get("GPU"), gpus, batch, None, path, 2) | served]


def _version_3_data(found: Mapping[str, Any], path: Path) -> list[Row]:
    return [_configuration(found, entry, path) for entry in found["configurations"]]


def _configuration(shared: Mapping[str, Any], entry: Mapping[str, Any], path: Path) -> Row:
    """A configuration; a file by model has what all share at its top, a file by task has it in each."""
    both = {**shared, **entry}
    if "energy_per_token_joules" not in entry or "model_id" not in both:
        raise wrong_file(path, "has configurations without energy_per_token_joules or model_id", _EXPECTED, _REMEDY)
    batch, gpus = positive(entry.get("max_num_seqs")), positive(entry.get("num_gpus"))
    precision = precision_of(both.get("weight_precision"))
    output = positive(entry.get("avg_output_len"))
    rate = positive(entry.get("output_throughput_tokens_per_sec"))
    waits = {"p50": "median_itl_ms", "p90": "p90_itl_ms", "p99": "p99_itl_ms"}
    return {
        **_named(both["model_id"], shared.get("task"), entry.get("gpu_model"), gpus, batch, precision, path, 3),
        "num_parameters": positive(both.get("total_params_billions"), 1e9),
        **_served(positive(entry["energy_per_token_joules"]), rate, output),
        **{f"inter_token_latency_s_{p}": positive(entry.get(key), _MS) for p, key in waits.items()},
    }


def _version_3_run(found: Mapping[str, Any], path: Path) -> list[Row]:
    """A run; its GPU, batch size and task stand in its folders, where the file lacks them.

    The percentiles of its inter-token latencies are not read: tokens that arrive together count as 0 s in them. The
    throughput is that of the steady state, and not the file's, which is of the whole run.
    """
    joules, seconds = positive(found.get("steady_state_energy")), positive(found.get("steady_state_duration"))
    per_token = positive(found["steady_state_energy_per_token"])
    settings = _settings(path)
    gpus = positive(found.get("num_gpus")) or settings.get("num_gpus")
    gpus = gpus or len(dig(found, "steady_state_measurement", "gpu_energy") or {}) or None
    batch = positive(found.get("max_num_seqs")) or settings.get("max_num_seqs")
    output = quotient(positive(found.get("total_output_tokens")), positive(found.get("completed")))
    graphics = found.get("gpu_model") or (path.absolute().parts[-3] if settings else None)
    # .../<task>/results/<owner>/<model>/<GPU>/num_gpus+1+max_num_seqs+128.../results.json
    folders = path.absolute().parts
    task = folders[-7] if folders[-6:-5] == ("results",) else None
    names = {"ttft": "time_to_first_token_s", "tpot": "time_per_output_token_s", "e2el": "request_latency_s"}
    row = {
        **_named(found.get("model_id"), task, graphics, gpus, batch, None, path, 3),
        **_served(per_token, quotient(quotient(joules, per_token), seconds), output),
        "gpu_energy_j": joules,
        "latency_requests": positive(found.get("completed")),
        "duration_s": positive(found.get("duration")),
    }
    waits = {
        f"{ours}_{p}": positive(found.get(f"{p}_{name}_ms"), _MS) for name, ours in names.items() for p in _PERCENTILES
    }
    return [row | waits]


# The key that only files of one kind have, and their reader.
_KINDS: dict[str, Callable[[Mapping[str, Any], Path], list[Row]]] = {
    "steady_state_energy_per_token": _version_3_run,
    "configurations": _version_3_data,
    "Energy/req (J)": _version_2,
}


def _settings(path: Path) -> dict[str, float]:
    """Numbers in the name of a run's folder: num_gpus+1+max_num_seqs+128 is {num_gpus: 1, max_num_seqs: 128}."""
    parts = path.absolute().parent.name.split("+")
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return {name: float(value) for name, value in pairs if value.isdigit()}


def _named(
    model: Any,
    task: Any,
    graphics: Any,
    gpus: float | None,
    batch: float | None,
    precision: Any,
    path: Path,
    version: int,
) -> Row:
    """Whose configuration it is; energy and throughput are of all of its GPUs, so their number is in the device."""
    count = int(gpus) if gpus else None
    device = f"{count} x {graphics}" if graphics and count and count > 1 else graphics
    return {
        "run_id": readable_id("ml-energy", task, model, precision, device, f"b{batch:g}" if batch else None),
        "model": model,
        "data": task,
        "precision": precision,
        "batch_size": batch,
        "device_name": device,
        "origin": f"ML.ENERGY {version}, {path.name}",
    }


def _served(per_token: float | None, rate: float | None, output: float | None) -> Row:
    """Columns of the steady state, of joules an output token, output tokens a second and output tokens a request."""
    return {
        **{"joules_per_token": per_token, "joules_per_output_token": per_token, "tokens_per_second": rate},
        "joules_per_request": product(per_token, output),
        "output_tokens": output,
        "requests_per_second": quotient(rate, output),
        "mean_power_w": product(per_token, rate),
        **({} if per_token is None else {"energy_method": Method.MEASURED_COUNTER.value, "energy_components": "gpu"}),
    }
