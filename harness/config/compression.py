"""Options of the `compression` group: what is taken out of a model before it is used."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harness.config.base import Count, option


@option
class NoCompression:
    """The model as it was loaded."""

    kind: Literal["none"]
    implementation: ClassVar[str] = "harness.models.compress:keep"
    name: str

    @property
    def label(self) -> str:
        """Name used in run ids and tables."""
        return "none"


@option
class MagnitudePruningConfig:
    """The smallest weights of each linear layer become zero, whatever their place (Han et al. 2015)."""

    kind: Literal["magnitude"]
    implementation: ClassVar[str] = "harness.models.compress:prune_by_magnitude"
    name: str
    sparsity: Annotated[float, Field(gt=0, lt=1)]

    @property
    def label(self) -> str:
        """Name used in run ids and tables."""
        return f"{self.name}-{self.sparsity:g}"


@option
class TwoOfFourConfig:
    """Of every four neighbouring weights of a row, the two smallest become zero (Mishra et al. 2021)."""

    kind: Literal["two-of-four"]
    implementation: ClassVar[str] = "harness.models.compress:prune_two_of_four"
    name: str

    @property
    def label(self) -> str:
        """Name used in run ids and tables."""
        return self.name


@option
class DropLayersConfig:
    """Whole blocks are left out: the `last` before the final one (Gromov et al. 2024), or evenly spread ones."""

    kind: Literal["drop-layers"]
    implementation: ClassVar[str] = "harness.models.compress:drop_layers"
    name: str
    layers: Count
    which: Literal["last", "even"]

    @property
    def label(self) -> str:
        """Name used in run ids and tables."""
        return f"{self.name}-{self.layers}-{self.which}"


CompressionConfig = NoCompression | MagnitudePruningConfig | TwoOfFourConfig | DropLayersConfig
