"""PyTorch as it is, and with compiled decoding steps."""

from __future__ import annotations

import torch

from harness.backends.backend import cache_dir
from harness.config.schema import Config
from harness.data.corpus import TextSource
from harness.energy.meter import EnergyMeter
from harness.errors import Unsupported, UserError
from harness.load import implementation
from harness.models.compress import linear_instead_of_conv1d, quantise
from harness.models.generation import Generator
from harness.models.loaded import LoadedModel
from harness.runner.precision import DTYPES


class Eager:
    """PyTorch, operation by operation."""

    def require_supported(self, config: Config) -> None:
        """As the interface says; what the device cannot do is known before."""
        if (config.precision.quantisation or "").startswith("gguf"):
            raise Unsupported(
                f"precision={config.precision.name}: a format of llama.cpp's",
                remedy="use backend=llama-cpp, or precision=int8 or int4",
            )

    def load(self, config: Config, source: TextSource) -> LoadedModel:
        """As the interface says."""
        dtype = DTYPES[config.precision.weights]
        model: LoadedModel = implementation(config.model)(config.model, source, cache_dir(config), dtype)
        return model

    def prepare(self, config: Config, model: LoadedModel, meter: EnergyMeter) -> LoadedModel:
        """The model as the cell's compression and precision leave it, on its device."""
        device = torch.device(config.hardware.accelerator)
        if config.compression.kind != "none" or config.precision.quantisation is not None:
            with meter.window("compress"):
                linear_instead_of_conv1d(model.network)
                model = implementation(config.compression)(config.compression, model)
                model.network.to(device)
                quantise(model.network, config.precision, device)
        model.network.to(device)
        return model


class Compiled(Eager):
    """PyTorch, with decoding steps that torch.compile makes. The first step of each shape compiles."""

    def require_supported(self, config: Config) -> None:
        """As the interface says."""
        super().require_supported(config)
        if config.task.kind != "generate":
            raise Unsupported(
                f"backend={config.backend.name}: task={config.task.name} has no decoding steps of one shape",
                remedy="use task=generate; a training has task.compile=true",
            )

    def prepare(self, config: Config, model: LoadedModel, meter: EnergyMeter) -> LoadedModel:
        """As the interface says."""
        model = super().prepare(config, model, meter)
        if not isinstance(model.network, Generator):
            raise UserError(f"backend={config.backend.name}: {config.model.label} does not continue a text")
        model.network.compile_step()
        return model
