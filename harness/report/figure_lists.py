"""Figure lists: what a study draws, each entry checked against the columns, and one restyled from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UserError, did_you_mean, first_line
from harness.metrics.registry import BY_NAME
from harness.report.kinds import KINDS
from harness.report.spec import FigureSpec, spec_of

DEFAULT = Path(__file__).parent / "default_figures.yaml"


def load_specs(study: str, experiments: Path) -> list[FigureSpec]:
    """The study's own figure list, or the default one; that of a study's variant for a GPU is the study's.

    Raises:
        UserError: If the list has an unknown key, kind or column.
    """
    own = experiments / study.removesuffix("-gpu") / "figures.yaml"
    return read_specs(own if study and own.is_file() else DEFAULT)


def read_specs(path: Path) -> list[FigureSpec]:
    """A figure list.

    Raises:
        UserError: If there is no such file, or it has an unknown key, kind or column.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: {first_line(error)}", remedy="give a YAML list of figures") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: not a list of figures", remedy="see harness/report/default_figures.yaml")
    names = [entry.get("name") for entry in entries]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{path}: two figures are called {twice[0]}", remedy="give one another name")
    return [checked(spec_of(entry, str(path)), str(path)) for entry in entries]


def checked(spec: FigureSpec, where: str) -> FigureSpec:
    """The spec, if its kind and columns exist.

    Raises:
        UserError: If not.
    """
    if spec.kind not in KINDS:
        raise UserError(f"{where}: figure {spec.name}: unknown kind {spec.kind}", allowed=KINDS)
    interval = [f"{spec.y}_ci_{end}" for end in ("low", "high")] if spec.y_interval else []
    needed = [getattr(spec, key) for key in KINDS[spec.kind].columns]
    methods = [f"{error}_by" for error in (spec.x_error, spec.y_error) if error in BY_NAME]
    optional = [*methods, spec.x_error, spec.y_error, spec.each, *interval, *spec.series, *spec.where, *spec.label]
    missing = [key for key in KINDS[spec.kind].columns if not getattr(spec, key)]
    if missing:
        raise UserError(f"{where}: figure {spec.name}: {' and '.join(missing)} missing")
    for column in (*needed, *optional):
        if column is not None and column not in BY_NAME:
            close = did_you_mean(column, BY_NAME) or "the columns are those of runs.csv"
            raise UserError(f"{where}: figure {spec.name}: no column {column}", remedy=close)
    for axis, error in (("x", spec.x_error), ("y", spec.y_error)):
        column = BY_NAME.get(getattr(spec, axis))
        if error and column is not None and error != column.error:
            remedy = f"use {axis}_error={column.error}" if column.error else f"leave {axis}_error out"
            raise UserError(f"{where}: figure {spec.name}: {error} is not the error of {column.name}", remedy=remedy)
    if KINDS[spec.kind].interval_of_x and f"{spec.x}_ci_low" not in BY_NAME:
        allowed = [name.removesuffix("_ci_low") for name in BY_NAME if name.endswith("_ci_low")]
        raise UserError(f"{where}: figure {spec.name}: {spec.x} has no interval", allowed=allowed)
    return spec


def restyled(spec: FigureSpec, settings: Sequence[str]) -> FigureSpec:
    """The spec with keys set anew, each `key=value` with a value in YAML.

    Raises:
        UserError: If a setting is none, or its key, value or column is unknown.
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise UserError(f"--set {setting}: not key=value", remedy="for example --set series=[precision]")
        changes[key] = yaml.safe_load(value)
    for axis in ("x", "y"):  # Another column has another error.
        column = BY_NAME.get(str(changes.get(axis)))
        if column is not None and getattr(spec, f"{axis}_error"):
            changes.setdefault(f"{axis}_error", column.error or None)
    return checked(spec_of({**_given(spec), **changes}, "--set"), "--set")


def _given(spec: FigureSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in FigureSpec.__dataclass_fields__}
