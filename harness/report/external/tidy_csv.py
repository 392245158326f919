"""Any CSV of a row a run, by a map of its columns to ours.

The map stands beside the CSV, under its name with the ending .columns.yaml:

    columns: {their name: our name, another of theirs: null}   # null leaves a column out
    scale: {our name: factor}          # from their unit to ours, which is SI, bytes or a fraction
    constants: {our name: value}       # the same in every row

A CSV whose header has our names needs none. Every column is accounted for, and joules need an `energy_method`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import yaml
from pydantic import TypeAdapter, ValidationError

from harness.energy.figure import Method
from harness.errors import UserError, did_you_mean
from harness.metrics.registry import BY_NAME
from harness.record.record import Status
from harness.report.external.rows import Row, wrong_file

_EXPECTED = "a CSV with a header and a row a run"
_REMEDY = "see the glossary for our columns and their units; docs/reporting.md shows a map"
_JOULES = {name for name, metric in BY_NAME.items() if metric.unit.split("/")[0] in ("J", "mJ")}
# Texts, even where they look like a number.
_TEXTS = {
    *("study", "run_id", "task", "model", "data", "compression", "backend", "precision", "hardware", "device_name"),
    *("protocol", "flags", "stop_reason", "bleu_signature", "chrf_signature", "decoding", "tokenizer"),
    *(
        "score_documents",
        "energy_components",
        "run_energy_method",
        "target_met",
        "teacher",
        "fingerprint",
    ),
    *("environment_fingerprint", "started_at", "reason", "origin"),
    *(name for name in BY_NAME if name.endswith("_by")),
}
_VALUES: dict[str, tuple[str, ...]] = {
    "status": get_args(Status),
    "energy_method": tuple(method.value for method in Method),
}


@dataclass(frozen=True)
class ColumnMap:
    """What a map says.

    Attributes:
        columns: Our name of each of their columns; None for one that is left out.
        scale: Factor from their unit to ours, by our name.
        constants: Values that all rows share, by our name.
    """

    columns: dict[str, str | None] = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)
    constants: dict[str, str | float] = field(default_factory=dict)


def read_tidy_csv(path: Path) -> list[Row]:
    """The rows of a CSV, in our columns and units.

    Raises:
        UserError: If the CSV or its map cannot be read, a column is unknown or given twice, a value is no number where
            one must be, or joules have no `energy_method`.
    """
    try:
        table = pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise wrong_file(path, f"cannot be read as CSV ({error})", _EXPECTED, _REMEDY) from error
    beside = path.with_suffix(".columns.yaml")
    mapped = _renamed(table, _map(beside), path, beside)
    for column in mapped:
        mapped[column] = _values(mapped[column], path)
    _refuse_joules(mapped, path)
    named = {"study": path.stem, "status": "ok", "origin": f"CSV, {path.name}"}
    rows = mapped.astype(object).where(mapped.notna(), None).to_dict("records")
    return [
        {
            **named,
            "run_id": f"{path.stem}-{line}",
            **{str(key): value for key, value in row.items() if value is not None},
        }
        for line, row in enumerate(rows, start=1)
    ]


def _map(beside: Path) -> ColumnMap:
    if not beside.is_file():
        return ColumnMap()
    try:
        found = yaml.safe_load(beside.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or set(found) - set(ColumnMap.__dataclass_fields__):
            keys = ", ".join(ColumnMap.__dataclass_fields__)
            raise UserError(f"{beside}: a map has the keys {keys}, and no others", remedy=_REMEDY)
        return TypeAdapter(ColumnMap).validate_python(found)
    except (OSError, ValueError, yaml.YAMLError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UserError(f"{beside}: no map of columns ({what})", remedy=_REMEDY) from error


def _renamed(table: pd.DataFrame, columns: ColumnMap, path: Path, beside: Path) -> pd.DataFrame:
    """Their columns under our names, scaled, and the constants."""
    for name in columns.columns:
        if name not in table:
            remedy = did_you_mean(name, table.columns) or "correct its name"
            raise UserError(f"{beside}: {path.name} has no column {name!r}", allowed=list(table.columns), remedy=remedy)
    ours = {name: columns.columns.get(name, name) for name in table.columns}
    _known([name for name in ours.values() if name is not None], path, f"map it in {beside.name}")
    _known([*columns.scale, *columns.constants], beside, "correct its name")
    kept = {name: column for name, column in ours.items() if column is not None}
    given = [*kept.values(), *columns.constants]
    for name in given:
        if given.count(name) > 1:
            raise UserError(f"{path}: {name} is given twice", remedy=f"leave one out in {beside.name}")
    mapped = table[list(kept)].rename(columns=kept)
    for name, factor in columns.scale.items():
        if name not in mapped:
            raise UserError(f"{beside}: {name} is scaled and not mapped", allowed=list(kept.values()))
        mapped[name] = _numbers(mapped[name], path) * factor
    return mapped.assign(**columns.constants)


def _known(names: list[str], where: Path, remedy: str) -> None:
    unknown = sorted(set(names) - set(BY_NAME))
    if unknown:
        close = did_you_mean(unknown[0], BY_NAME)
        hint = f"{close} Otherwise {remedy}" if close else remedy
        raise UserError(f"{where}: no column of ours is called {', '.join(unknown)}", remedy=f"{hint}; {_REMEDY}")


def _values(column: pd.Series[Any], path: Path) -> pd.Series[Any]:
    """A column of numbers as numbers, and one of texts as it is."""
    name = str(column.name)
    allowed = _VALUES.get(name)
    if allowed is not None:
        wrong = sorted(set(column.dropna()) - set(allowed))
        if wrong:
            raise UserError(f"{path}: {name}={wrong[0]}", allowed=allowed)
    if allowed is not None or name in _TEXTS:
        return column
    return _numbers(column, path)


def _numbers(column: pd.Series[Any], path: Path) -> pd.Series[Any]:
    parsed = pd.to_numeric(column, errors="coerce")
    wrong = column[parsed.isna() & column.notna()]
    if len(wrong):
        # The header is line 1.
        line = int(wrong.index[0]) + 2
        raise UserError(f"{path}, line {line}: {column.name}={wrong.iloc[0]} is no number", remedy="or leave it empty")
    return parsed.replace([math.inf, -math.inf], math.nan)


def _refuse_joules(mapped: pd.DataFrame, path: Path) -> None:
    """Whoever gives joules says where they come from, in every row that has some."""
    told = mapped.get("energy_method", pd.Series(index=mapped.index, dtype=object))
    without = mapped[told.isna() | (told == Method.UNAVAILABLE)]
    given = [name for name in without.columns if name in _JOULES and without[name].notna().any()]
    if given:
        raise UserError(
            f"{path}: {given[0]} without energy_method",
            allowed=[name for name in _VALUES["energy_method"] if name != Method.UNAVAILABLE],
            remedy="map a column to energy_method, or give it under constants; modelled, if you cannot tell",
        )
