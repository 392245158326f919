"""Whether a cell can run here at all: devices, and the least memory that it needs."""

from __future__ import annotations

from pathlib import Path

import psutil

from harness.config.schema import Config
from harness.config.task import TrainTaskConfig
from harness.errors import UserError
from harness.models.sizes import num_parameters, vocabulary

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_QUANTISED = {"int8": 1.0, "int4": 0.5, "float8": 1.0, "gguf-q8_0": 34 / 32, "gguf-q4_0": 18 / 32, "gguf-q4_1": 20 / 32}


def least_memory_bytes(config: Config) -> int | None:
    """The least that a cell's device must hold: weights, gradients and Adam's moments, and a batch's logits.

    A lower bound: activations, caches and the library itself come on top. None where the model's size is not known
    without loading it.
    """
    parameters = _parameters(config)
    if parameters is None:
        return None
    weight = _weight_bytes(config)
    if not isinstance(config.task, TrainTaskConfig):
        return int(parameters * weight)
    stored = 4 if "mixed" in config.precision.lightning or config.precision.weights == "float32" else 2
    tokens = (vocabulary(config.model.tokenizer) or 0) if hasattr(config.model, "tokenizer") else 0
    context = config.task.context or getattr(config.model, "context_length", None) or 1
    rows = config.task.micro_batch_size or config.batch_size
    logits = rows * context * tokens * 4 // config.hardware.devices
    if config.task.freeze or config.task.lora.rank:  # How many weights are trained is not known here.
        return int(parameters * weight) + logits
    shares = config.hardware.devices if config.hardware.strategy == "fsdp" else 1
    return int(parameters * 4 * stored / shares) + logits


def _parameters(config: Config) -> int | None:
    try:
        return num_parameters(config.model)
    except (UserError, OSError, ValueError):  # What is missing or unreadable is the preflight's to tell.
        return None


def _weight_bytes(config: Config) -> float:
    scheme = config.precision.quantisation
    found = next((size for name, size in _QUANTISED.items() if scheme and scheme.startswith(name)), None)
    return found if found is not None else _BYTES[config.precision.weights]


def impossible(config: Config, memory_bytes: int | None) -> str:
    """Why a cell cannot run on this machine, as far as can be known beforehand; an empty string if it may.

    Args:
        config: The cell's.
        memory_bytes: Of its device; None where it is not known.
    """
    if config.hardware.accelerator == "cuda" and not Path("/dev/nvidiactl").exists():
        return f"hardware={config.hardware.name}: no NVIDIA driver here"
    need = least_memory_bytes(config)
    if need is not None and memory_bytes is not None and need > memory_bytes:
        return f"needs at least {need / 1e9:.1f} GB, and its device has {memory_bytes / 1e9:.1f} GB"
    return ""


def device_memory_bytes(config: Config) -> int | None:
    """Memory of the device that runs a cell; None where it is not known."""
    if config.hardware.accelerator == "cpu":
        return int(psutil.virtual_memory().total)
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).total)
    except pynvml.NVMLError:  # No driver or no permission: unknown.
        return None
