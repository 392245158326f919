"""Options of the `precision`, `hardware`, `energy` and `protocol` groups."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harness.config.base import Count, Fraction, Index, NonNegative, Positive, option

Dtype = Literal["float32", "bfloat16", "float16"]
# Of matrix products: tf32 rounds the inputs of float32 products to 10 bits of mantissa.
Arithmetic = Literal["float32", "tf32", "bfloat16", "float16", "float8", "int8"]

# Torchao's schemes, and llama.cpp's formats.
Quantisation = Literal[
    "int8-weight-only",
    "int8-dynamic",
    "int4-weight-only",
    "float8-dynamic",
    "gguf-q8_0",
    "gguf-q4_0",
    "gguf-q4_1",
]


@option
class PrecisionConfig:
    """Number format of weights and arithmetic, and Lightning's name for the pair.

    `quantisation` names the scheme by which the weights of linear layers are stored after loading; `group_size` weights
    share a scale, where a scheme has groups.
    """

    name: str
    weights: Dtype
    compute: Arithmetic
    lightning: Literal["32-true", "bf16-true", "bf16-mixed", "16-true", "16-mixed"]
    quantisation: Quantisation | None = None
    group_size: Literal[32, 64, 128] | None = None


@option
class ClusterConfig:
    """What a job asks a cluster for, where a sweep goes through SLURM; null leaves it to the cluster."""

    partition: str | None
    constraint: str | None
    gpus: Count | None
    cpus: Count | None
    memory_gb: Count | None
    time_min: Count | None


@option
class HardwareConfig:
    """What runs the cell, and the published figures that utilisation is measured against.

    `peak_flops` maps a compute dtype to the dense peak in FLOP/s of one device. Empty means unknown: utilisation
    then stays empty. `cache_bytes` is the last-level cache: weights that fit in it need not be read from memory.
    `strategy` says what several devices that train hold: each the whole model (ddp), or a share of it (fsdp).
    """

    name: str
    accelerator: Literal["cpu", "cuda"]
    devices: Count
    strategy: Literal["ddp", "fsdp"]
    threads: Count | None
    peak_flops: dict[Arithmetic, Positive | None]
    memory_bandwidth_bytes_per_s: Positive | None
    cache_bytes: Positive | None
    cpu_tdp_w: Positive | None
    source: str
    cluster: ClusterConfig


@option
class EnergyConfig:
    """Which energy sources are opened: counters, the modelled CPU where there is none, a wall meter, or nothing.

    Without `host`, GPUs are read alone, and are all that a total holds.
    `wall_meter_csv` is a file with the columns `timestamp` (Unix seconds, or ISO 8601 with its zone) and `watts`, to
    which a logger appends while the run goes on; `wall_meter_accuracy` is the meter's relative accuracy.
    """

    name: str
    counters: bool
    cpu_model: bool
    host: bool
    wall_meter_csv: str | None
    wall_meter_accuracy: Fraction


@option
class LoggerConfig:
    """A logger of Lightning's that shows a training to those who watch it; no part of a cell's identity.

    `run_folder` and `run_name` name the arguments that say where it writes and what its run is called, if it has them.
    """

    preflight: ClassVar[str] = "harness.runner.loggers:check_logger"
    name: str
    target: str | None
    requirement: str | None
    run_folder: str | None
    run_name: str | None
    options: dict[str, str | int | float | bool | None]


@option
class ProtocolConfig:
    """The rules of measuring: warm-up, length of a window, number of repeats and when they may stop."""

    name: str
    warmup_iterations: Index
    warmup_s: NonNegative
    window_s: Positive
    min_repeats: Annotated[int, Field(ge=2)]
    max_repeats: Count
    target_half_width: Positive
    max_minutes: Positive
    cooldown_s: NonNegative
    idle_s: NonNegative
    max_foreign_cpu_share: Fraction
    max_temperature_drift_c: Positive
    refuse_short_windows: bool
    shuffle_cells: bool

    def __post_init__(self) -> None:
        if self.max_repeats < self.min_repeats:
            raise ValueError(f"max_repeats={self.max_repeats} is below min_repeats={self.min_repeats}")
