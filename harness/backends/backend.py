"""The interface of an engine. docs/backends.md shows how to add one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from harness.config.schema import Config
from harness.data.corpus import TextSource
from harness.energy.meter import EnergyMeter
from harness.load import find
from harness.models.loaded import LoadedModel


class Backend(Protocol):
    """An engine that runs models.

    What it makes is a `LoadedModel` whose network is a `Generator` (see `harness.models.generation`), so that every
    task asks every engine in the same way, and quality and energy come from the same weights.
    """

    def require_supported(self, config: Config) -> None:
        """Check that the engine has the cell's task, precision, compression and device.

        Raises:
            Unsupported: If not, with the reason.
        """
        ...

    def load(self, config: Config, source: TextSource) -> LoadedModel:
        """Read the model; the window `load` is open.

        Raises:
            UserError: If it cannot be had.
        """
        ...

    def prepare(self, config: Config, model: LoadedModel, meter: EnergyMeter) -> LoadedModel:
        """Make of the loaded model what is measured, in windows of its own (`compress`, `compile`).

        Raises:
            UserError: If that does not fit the model.
            Unsupported: If the engine or the device cannot have it.
        """
        ...


def backend_of(config: Config) -> Backend:
    """The engine that a cell names."""
    found: Backend = find(config.backend.implementation)()
    return found


def cache_dir(config: Config) -> Path:
    """Where converted models are kept."""
    return Path(config.paths.cache_dir).expanduser()
