"""What every option of every config group has in common."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]

T = TypeVar("T")


class LabelledByName:
    """An option that run ids and tables call by its name."""

    name: str

    @property
    def label(self) -> str:
        """Name used in run ids and tables."""
        return self.name


class LabelledByFolder:
    """An option that run ids and tables call by the folder that it stands for."""

    name: str
    path: str

    @property
    def label(self) -> str:
        """Name used in run ids and tables: the folder's name."""
        return self.path.rstrip("/").rsplit("/", 1)[-1] or self.name


# Unknown keys fail, types are not bent, nothing changes after loading.
_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def option(cls: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only, validated dataclass behind one YAML of `conf/`."""
    decorated: Any = dataclass(frozen=True, kw_only=True, config=_STRICT)(cls)
    return decorated  # type: ignore[no-any-return]
