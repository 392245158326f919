"""What a figure shows: one entry of a figure list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from harness.errors import UserError, did_you_mean


@dataclass(frozen=True)
class FigureSpec:
    """One entry of a figure list.

    Attributes:
        name: File name.
        kind: How it is drawn; `harness/report/kinds` lists the kinds and what each reads.
        x, y: Columns of runs.csv, or what the kind calls its axes.
        series: Columns that tell lines or markers apart: the first sets the colour, the last marker and dashes.
        value: Column that a heat map shows.
        x_error, y_error: Column with the relative 95 % half-width of x or y.
        y_interval: Whether the columns <y>_ci_low and <y>_ci_high bound y.
        each: A column: one figure for each of its values.
        where: Only runs with these values.
        label: Columns whose values stand beside each point.
        parts: Of stacked bars: phases, or components.
        reference_exponent, reference: A published exponent to draw beside a fit, and where it stands.
        fit: The curve through points: `power`, or `saturating`, which has a floor.
        title: Above the axes; none by default, as papers have captions.
        width_in, height_in: In inches; by the venue, and by the width.
        x_scale, y_scale: `log` or `linear` instead of the kind's own.
        legend: `right`, `above` or `none`; by the width if it is not given.
        seeds: `mean`: cells with several seeds are one point with its interval; `each`: every run is a point.
        rc: Settings of matplotlib for this figure, by name.
    """

    name: str
    kind: str
    x: str = ""
    y: str = ""
    series: tuple[str, ...] = ()
    value: str | None = None
    x_error: str | None = None
    y_error: str | None = None
    y_interval: bool = False
    each: str | None = None
    where: dict[str, Any] = field(default_factory=dict)
    label: tuple[str, ...] = ()
    parts: str = "phases"
    reference_exponent: float | None = None
    reference: str | None = None
    fit: str = "power"
    title: str | None = None
    width_in: float | None = None
    height_in: float | None = None
    x_scale: str | None = None
    y_scale: str | None = None
    legend: str | None = None
    seeds: str = "mean"
    rc: dict[str, Any] = field(default_factory=dict)


LISTS = ("series", "label")
# Of a side, in inches.
LARGEST = 40
CHOICES = {
    "x_scale": ("log", "linear"),
    "y_scale": ("log", "linear"),
    "legend": ("right", "above", "none"),
    "seeds": ("mean", "each"),
    "parts": ("phases", "components"),
    "fit": ("power", "saturating"),
}


def spec_of(entry: Mapping[str, Any], where: str) -> FigureSpec:
    """An entry of a list as a spec, each key checked.

    Args:
        entry: Keys and values.
        where: Where it stands, for messages.

    Raises:
        UserError: If a key or the type of a value is unknown.
    """
    known = {each.name for each in fields(FigureSpec)}
    name = f"{where}: figure {entry.get('name')}"
    for key in entry:
        if key not in known:
            raise UserError(f"{name}: unknown key {key}", allowed=sorted(known), remedy=did_you_mean(str(key), known))
    missing = {"name", "kind"} - set(entry)
    if missing:
        raise UserError(f"{name}: {' and '.join(sorted(missing))} missing")
    hints = get_type_hints(FigureSpec)
    # A single column needs no list around it.
    several = {key: [value] if key in LISTS and isinstance(value, str) else value for key, value in entry.items()}
    values = {key: _checked(value, hints[key], f"{name}: {key}") for key, value in several.items()}
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", values["name"]):
        raise UserError(f"{name}: not a file name", remedy="letters, digits, points, dashes and underscores")
    for key in ("width_in", "height_in"):
        if values.get(key) is not None and not 1 <= values[key] <= LARGEST:
            raise UserError(f"{name}: {key}={values[key]}", remedy=f"between 1 and {LARGEST} inches")
    for key, allowed in CHOICES.items():
        if values.get(key) is not None and values[key] not in allowed:
            raise UserError(f"{name}: {key}={values[key]}", allowed=allowed)
    return FigureSpec(**values)


def _checked(value: Any, hint: Any, where: str) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{where}={value!r}: {error.errors()[0]['msg']}") from error
