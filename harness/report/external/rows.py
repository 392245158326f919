"""What the importers share: reading a file, and putting a row together."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.energy.figure import Method
from harness.errors import UserError
from harness.report.site import J_PER_KWH

Row = dict[str, Any]

# Names of number formats elsewhere, and ours.
_PRECISIONS = {
    **{"float32": "fp32", "float": "fp32", "float16": "fp16", "half": "fp16", "bfloat16": "bf16"},
    **{"float8": "fp8", "auto": None, "": None},
}
# CodeCarbon's name of each component, and our column.
_COMPONENTS = {"cpu": "cpu_energy_j", "gpu": "gpu_energy_j", "ram": "dram_energy_j"}


def wrong_file(path: Path, what: str, expected: str, remedy: str) -> UserError:
    """The message for a file that is not what its format says.

    Args:
        path: The file.
        what: What is wrong with it.
        expected: What the format's files hold.
        remedy: What to do about it.
    """
    return UserError(f"{path}: {what}; expected {expected}", remedy=remedy)


def read_json(path: Path, expected: str, remedy: str) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        UserError: If it cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise wrong_file(path, f"cannot be read as JSON ({error})", expected, remedy) from error
    if not isinstance(found, dict):
        raise wrong_file(path, f"holds a {type(found).__name__}", expected, remedy)
    return found


def dig(found: Any, *keys: str) -> Any:
    """What stands under nested keys, or None."""
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def number(value: Any, scale: float = 1.0) -> float | None:
    """A finite number times `scale`; None for anything else, such as lm-eval's `N/A`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value * scale


def positive(value: Any, scale: float = 1.0) -> float | None:
    """As `number`, and None for 0 and below: what tools write for a counter that they lack, or lost."""
    found = number(value, scale)
    return found if found is not None and found > 0 else None


def quotient(numerator: float | None, denominator: float | None) -> float | None:
    """A ratio, or None where either part is missing or the denominator is 0."""
    return None if numerator is None or not denominator else numerator / denominator


def product(*factors: float | None) -> float | None:
    """A product, or None where a factor is missing."""
    known = [factor for factor in factors if factor is not None]
    return math.prod(known) if len(known) == len(factors) else None


def precision_of(name: Any) -> str | None:
    """Our name of a number format: `torch.bfloat16` is bf16; `auto` says nothing; what we have no name for stays."""
    text = str(name or "").removeprefix("torch.").lower()
    return _PRECISIONS.get(text, text)


def codecarbon_energy(kwh: Mapping[str, Any], divisor: float = 1.0) -> Row:
    """CodeCarbon's energies as our columns in joules, with their method.

    Neither its files nor those of tools that call it say how the CPU's power was obtained: by RAPL, or where that
    cannot be read by TDP and load, or half the TDP (`codecarbon/core/resource_tracker.py` and
    `external/hardware.py`, 3.3.2). That of memory is always a constant or an estimate by slots (`external/ram.py`), but
    on a Raspberry Pi. The GPU's is NVML's counter, or an average of power where there is none (`core/gpu_device.py`). A
    sum carries its worst method, so it is `modelled`.

    Args:
        kwh: Kilowatt-hours by `cpu`, `gpu`, `ram`; a 0 is CodeCarbon's word for a component that it could not read.
        divisor: What CodeCarbon multiplied them by (the PUE, `emissions_tracker.py`).
    """
    joules = {name: positive(kwh.get(name), J_PER_KWH / divisor) for name in _COMPONENTS}
    known = sorted(_COMPONENTS[name].removesuffix("_energy_j") for name, value in joules.items() if value is not None)
    return {
        **{column: joules[name] for name, column in _COMPONENTS.items()},
        "energy_components": "+".join(known) or None,
        "energy_method": Method.MODELLED.value if positive(kwh.get("total")) else None,
    }


def readable_id(*parts: Any) -> str:
    """A run id of these parts, without those that are missing; a model's owner is left out of it."""
    names = [str(part).rsplit("/", 1)[-1] for part in parts if part not in (None, "")]
    return "-".join(re.sub(r"[^\w.-]+", "_", name).strip("_") for name in names)
