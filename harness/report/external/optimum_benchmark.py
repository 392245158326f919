"""optimum-benchmark's benchmark.json, or benchmark_report.json with benchmark_config.json beside it: a row a file.

Read and written against 0.6.0 (`optimum_benchmark/scenarios`, `optimum_benchmark/trackers`), its scenarios inference
and training. What it does, and what follows:

* Energy is CodeCarbon's, so it is modelled (`codecarbon_energy`); that of decoding is generating less prefilling. Means
  of a call are given, so component energies are of one call.
* The throughput of `generate` is tokens called samples where latencies are taken per token; requests per second are
  the batch size over the mean latency instead.
* The latencies of `per_token` hold the tokens of all earlier calls again at every call, and the gaps between calls
  (`PerTokenLatencySessionTrackerLogitsProcessor.track`): they are not read. Time per output token is a call's decoding
  over its tokens.
* The scenario energy_star counts `max_new_tokens` for every request, also those that end earlier: it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.report.external.rows import (
    Row,
    codecarbon_energy,
    dig,
    positive,
    precision_of,
    product,
    quotient,
    read_json,
    readable_id,
    wrong_file,
)
from harness.report.site import J_PER_KWH

_EXPECTED = "optimum-benchmark's benchmark.json, or benchmark_report.json, of the scenario inference or training"
_REMEDY = "give one of the two files, or a folder of runs of these scenarios"
_BYTES_PER_MB = 1e6
# `TEXT_GENERATION_DEFAULT_KWARGS` of 0.6.0's scenario.
_DEFAULT_NEW_TOKENS = 100
_BACKENDS = {"pytorch": "eager"}
_PEAKS = {"max_ram": "peak_rss_bytes", "max_allocated": "peak_memory_allocated_bytes"}


def read_optimum_benchmark(path: Path) -> list[Row]:
    """The run of a file. A report without a configuration says nothing of model, batch size, precision or device.

    Raises:
        UserError: If it is no such file, or of another scenario.
    """
    found = read_json(path, _EXPECTED, _REMEDY)
    report = found["report"] if isinstance(found.get("report"), dict) else found
    config = found.get("config") if "report" in found else _config_beside(path)
    config = config if isinstance(config, dict) else {}
    target = next((name for name in _TARGETS if dig(report, name) and "load_dataset" not in report), None)
    if target is None:
        raise wrong_file(path, f"has {', '.join(list(found)[:6]) or 'nothing'}", _EXPECTED, _REMEDY)
    run = _run(config, report, path)
    return [{**run, **_TARGETS[target](report, config)}]


def _config_beside(path: Path) -> dict[str, Any] | None:
    beside = path.with_name("benchmark_config.json")
    return read_json(beside, _EXPECTED, _REMEDY) if beside.is_file() else None


def _run(config: Mapping[str, Any], report: Mapping[str, Any], path: Path) -> Row:
    """What every scenario says."""
    backend = config.get("backend") or {}
    environment = config.get("environment") or {}
    device = backend.get("device")
    graphics = environment.get("gpu") or [None]
    name = graphics[0] if device == "cuda" else environment.get("cpu")
    precision, batch_size, engine = _precision(backend), _batch_size(config), str(backend.get("name", ""))
    peaks = {key: [positive(dig(part, "memory", key), _BYTES_PER_MB) for part in report.values()] for key in _PEAKS}
    version = environment.get("optimum_benchmark_version", "")
    size = f"b{batch_size}" if batch_size else None
    return {
        "study": config.get("name") or "optimum-benchmark",
        "run_id": readable_id("optimum-benchmark", config.get("name"), backend.get("model"), precision, size),
        "status": "ok",
        "model": backend.get("model"),
        "batch_size": batch_size,
        "backend": "compile" if backend.get("torch_compile") else _BACKENDS.get(engine, engine) or None,
        "precision": precision,
        "hardware": device,
        "device_name": name.strip() if isinstance(name, str) else None,
        "seed": backend.get("seed"),
        **{column: max((peak for peak in peaks[key] if peak), default=None) for key, column in _PEAKS.items()},
        "origin": f"optimum-benchmark {version}".strip() + f", {path.name}",
    }


def _precision(backend: Mapping[str, Any]) -> str | None:
    """Number format of the weights; that of a quantised model is its method's name, for want of a better one."""
    quantised = dig(backend, "quantization_config", "quant_method") or backend.get("quantization_scheme")
    if quantised:
        return str(quantised)
    if backend.get("autocast_enabled"):
        mixed = precision_of(backend.get("autocast_dtype"))
        return f"{mixed}-mixed" if mixed else None
    return precision_of(backend.get("torch_dtype"))


def _batch_size(config: Mapping[str, Any]) -> int | None:
    inference = dig(config, "scenario", "input_shapes", "batch_size")
    size = positive(inference or dig(config, "scenario", "training_arguments", "per_device_train_batch_size"))
    return None if size is None else int(size)


def _generation(report: Mapping[str, Any], config: Mapping[str, Any]) -> Row:
    """Columns of a text generation: prefill, decode and whole requests."""
    shapes, wanted = (dig(config, "scenario", key) or {} for key in ("input_shapes", "generate_kwargs"))
    batch_size, prompt = positive(shapes.get("batch_size")), positive(shapes.get("sequence_length"))
    output = positive(wanted.get("max_new_tokens", _DEFAULT_NEW_TOKENS)) if config else None
    # Tokens of every beam are counted, and only those of one are output.
    beams = positive(wanted.get("num_beams")) or 1.0
    decode = product(_joules_per_unit(report, "decode"), beams)
    rate = quotient(positive(dig(report, "decode", "throughput", "value")), beams)
    request = _joules_per_unit(report, "generate")
    prefill_rate = positive(dig(report, "prefill", "throughput", "value"))
    return {
        "task": "generate",
        "data": "random tokens",
        "prompt_tokens_mean": prompt,
        "output_tokens": output,
        **codecarbon_energy(dig(report, "decode", "energy") or {}),
        **{"joules_per_token": decode, "decode_joules_per_token": decode},
        **{"tokens_per_second": rate, "decode_tokens_per_second": rate},
        "prefill_joules_per_token": quotient(_joules_per_unit(report, "prefill"), prompt),
        "prefill_tokens_per_second": product(prefill_rate, prompt),
        "joules_per_request": request,
        "joules_per_output_token": quotient(request, output),
        "requests_per_second": quotient(batch_size, positive(dig(report, "generate", "latency", "mean"))),
        "latency_requests": product(positive(dig(report, "generate", "latency", "count")), batch_size),
        **_percentiles(report, "prefill", "time_to_first_token_s"),
        **_percentiles(report, "decode", "time_per_output_token_s", None if output is None else output - 1),
        **_percentiles(report, "generate", "request_latency_s"),
    }


def _forward(report: Mapping[str, Any], config: Mapping[str, Any]) -> Row:
    """Columns of a task that generates nothing: one forward pass a sample."""
    return {
        "task": dig(config, "backend", "task") or "forward",
        "data": "random tokens",
        **codecarbon_energy(dig(report, "forward", "energy") or {}),
        "joules_per_sample": _joules_per_unit(report, "forward"),
        "requests_per_second": positive(dig(report, "forward", "throughput", "value")),
        **_percentiles(report, "forward", "request_latency_s"),
    }


def _training(report: Mapping[str, Any], config: Mapping[str, Any]) -> Row:
    """Columns of a training; its energy is of all steps, warm-up included."""
    joules = positive(dig(report, "overall", "energy", "total"), J_PER_KWH)
    steps = positive(dig(report, "overall", "latency", "count"))
    return {
        "task": "train",
        "data": "random tokens",
        **codecarbon_energy(dig(report, "overall", "energy") or {}),
        "train_energy_j": joules,
        "train_s": positive(dig(report, "overall", "latency", "total")),
        "train_steps": steps,
        "joules_per_step": quotient(joules, steps),
        "joules_per_sample": _joules_per_unit(report, "overall"),
    }


_TARGETS = {"decode": _generation, "forward": _forward, "overall": _training}


def _joules_per_unit(report: Mapping[str, Any], target: str) -> float | None:
    """Joules of a sample or a token: the inverse of the target's efficiency, in units per kWh."""
    return quotient(J_PER_KWH, positive(dig(report, target, "efficiency", "value")))


def _percentiles(report: Mapping[str, Any], target: str, column: str, divisor: float | None = 1.0) -> Row:
    latency = dig(report, target, "latency")
    return {f"{column}_{p}": quotient(positive(dig(latency, p)), divisor) for p in ("p50", "p90", "p99")}
