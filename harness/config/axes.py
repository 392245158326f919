"""The axes of a cell, by the names that they have in records and tables."""

from __future__ import annotations

from typing import Any

from harness.config.schema import Config


def axes_of(config: Config) -> dict[str, Any]:
    """What the configuration alone says of a cell; its device is known where it runs."""
    return {
        "task": config.task.name,
        "model": config.model.label,
        "compression": config.compression.label,
        "backend": config.backend.name,
        "data": config.data.label,
        "batch_size": config.batch_size,
        "precision": config.precision.name,
        "hardware": config.hardware.name,
        "protocol": config.protocol.name,
    }
