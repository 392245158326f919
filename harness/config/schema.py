"""The typed, frozen form of one resolved configuration: one cell and where its results go."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.config.backend import BackendConfig
from harness.config.base import Count, Positive, option
from harness.config.compression import CompressionConfig
from harness.config.data import DataConfig
from harness.config.model import ModelConfig
from harness.config.platform import EnergyConfig, HardwareConfig, LoggerConfig, PrecisionConfig, ProtocolConfig
from harness.config.task import TaskConfig

# Groups of conf/ whose chosen option's name is written into the option itself.
GROUPS = ("task", "model", "compression", "backend", "data", "precision", "hardware", "energy", "protocol", "logger")

StudyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


@option
class Paths:
    """Where things are written; no part of a cell's identity."""

    results_dir: str
    cache_dir: str


@option
class Config:
    """One cell of a study: everything that decides its result, and what does not.

    How a sweep treats its cells (`isolation` to `memory_limit_bytes`), the paths and the logger are no part of a cell's
    identity.
    """

    study: StudyName
    task: Annotated[TaskConfig, Field(discriminator="kind")]
    model: Annotated[ModelConfig, Field(discriminator="kind")]
    compression: Annotated[CompressionConfig, Field(discriminator="kind")]
    backend: Annotated[BackendConfig, Field(discriminator="kind")]
    data: Annotated[DataConfig, Field(discriminator="kind")]
    precision: PrecisionConfig
    hardware: HardwareConfig
    energy: EnergyConfig
    protocol: ProtocolConfig
    logger: LoggerConfig
    batch_size: Count
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    isolation: Literal["process", "inline"]
    order: Literal["given", "shuffled", "interleaved"]
    retry: Literal["failed", "none"]
    rerun: Literal["none", "all"]
    environment: Literal["keep", "rerun"]
    time_limit_s: Positive | None
    memory_limit_bytes: Count | None
    paths: Paths
