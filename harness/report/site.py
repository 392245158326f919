"""Carbon and cost of energy at a site, by pinned factors of `conf/site`, computed when a report is made.

A site is no part of a cell: the same record can be read for any of them.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from harness.config.base import NonNegative, option
from harness.config.compose import config_dir
from harness.errors import UserError, did_you_mean
from harness.stats.intervals import Interval

J_PER_KWH = 3.6e6


@option
class Factor:
    """A published figure.

    Attributes:
        value: The figure, in the unit of the key that it stands behind.
        source: Who published it.
        year: The year that it is about.
        low, high: Its range, where the source gives one.
    """

    value: NonNegative
    source: Annotated[str, Field(min_length=1)]
    year: int
    low: NonNegative | None = None
    high: NonNegative | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Factor:
        if not self.bounds.low <= self.value <= self.bounds.high:
            raise ValueError("the value lies outside low and high")
        return self

    @property
    def bounds(self) -> Interval:
        """The value with its range, which has no width where the source gives none."""
        low, high = (self.value if end is None else end for end in (self.low, self.high))
        return Interval(self.value, low, high)


@option
class Site:
    """Where energy is used.

    Attributes:
        name: Stem of its YAML.
        pue: Power usage effectiveness: energy of the building over that of the machines in it, 1 or more. A wall meter
            at the machine does not see the building either, so that it counts for every method of measuring.
        carbon_intensity_g_per_kwh: Grams of CO2-equivalent; None where unknown.
        price_usd_per_kwh: US dollars; None where unknown.
    """

    name: str
    pue: Factor
    carbon_intensity_g_per_kwh: Factor | None
    price_usd_per_kwh: Factor | None

    @model_validator(mode="after")
    def _whole_building(self) -> Site:
        if self.pue.bounds.low < 1:
            raise ValueError("pue: a building uses at least what its machines use, so that it is 1 or more")
        return self


_SITE = TypeAdapter(Site)


def load_site(name: str) -> Site:
    """A site by the name of its file in `conf/site`, or by the path of a YAML of one's own.

    Raises:
        UserError: If there is no such site, or a key or a value of it is wrong.
    """
    paths = {path.stem: path for path in sorted((config_dir() / "site").glob("*.yaml"))}
    path = paths.get(name, Path(name))
    if not path.is_file():
        remedy = did_you_mean(name, paths) or "give one of these, or the path of a YAML like those in conf/site"
        raise UserError(f"site {name}: no such site", allowed=paths, remedy=remedy)
    try:
        return _SITE.validate_json(json.dumps({**_mapping(path), "name": path.stem}, default=str))
    except ValidationError as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: ValidationError) -> UserError:
    """The first error, and the keys that there are where one is missing or unknown."""
    first = error.errors(include_url=False)[0]
    *outer, key = [str(part) for part in first["loc"]] or [""]
    keys = {"missing", "unexpected_keyword_argument"}
    known = [field.name for field in fields(Factor if outer else Site) if field.name != "name"]
    message = first["msg"].removeprefix("Value error, ")
    return UserError(
        f"{path}: {'.'.join([*outer, key])}{': ' if key else ''}{message}",
        allowed=known if first["type"] in keys else None,
        remedy="see conf/site/us.yaml",
    )


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a YAML file: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a mapping of keys to values", remedy="see conf/site/us.yaml")
    return content


def per_joule(site: Site) -> dict[str, Interval | None]:
    """What a joule of the machine becomes at a site: `carbon_g` in grams, `cost_usd` in US dollars.

    PUE x factor / 3.6e6 J/kWh (Patterson et al. 2021, section 2.5), each end with the same end of both; None where the
    factor is unknown.
    """
    factors = {"carbon_g": site.carbon_intensity_g_per_kwh, "cost_usd": site.price_usd_per_kwh}
    return {name: None if factor is None else _product(site.pue, factor) for name, factor in factors.items()}


def _product(pue: Factor, factor: Factor) -> Interval:
    a, b = pue.bounds, factor.bounds
    return Interval(a.value * b.value / J_PER_KWH, a.low * b.low / J_PER_KWH, a.high * b.high / J_PER_KWH)


def with_site(runs: pd.DataFrame, site: Site) -> pd.DataFrame:
    """Add what each whole run emitted and cost at a site, with the bounds of its energy and of the site's factors.

    Args:
        runs: With the columns `run_energy_j`, `run_energy_low_j` and `run_energy_high_j`, in joules.
        site: Where the runs are taken to have been made.

    Returns:
        A copy with `carbon_g`, `carbon_g_low`, `carbon_g_high` in grams and `cost_usd`, `cost_usd_low`,
        `cost_usd_high` in US dollars; missing where the energy or the factor is.
    """
    columns: dict[str, pd.Series] = {}
    for name, factor in per_joule(site).items():
        known = factor or Interval(math.nan, math.nan, math.nan)
        for end, of_joule in (("", known.value), ("_low", known.low), ("_high", known.high)):
            columns[f"{name}{end}"] = pd.to_numeric(runs[f"run_energy{end}_j"]) * of_joule
    return runs.assign(**columns)


def site_sentence(site: Site) -> str:
    """Which factors stand behind carbon and cost, with sources and years, for captions."""
    carbon, price = site.carbon_intensity_g_per_kwh, site.price_usd_per_kwh
    return (
        f"Carbon and cost at site {site.name}: energy of the components measured x PUE "
        f"{_told(site.pue)}; carbon x {_told(carbon, ' g CO2e/kWh')}; cost x {_told(price, ' USD/kWh')}."
    )


def _told(factor: Factor | None, unit: str = "") -> str:
    if factor is None:
        return "an unknown factor, so that it is left empty"
    ends = factor.bounds
    spread = "" if ends.low == ends.high else f", {ends.low:g} to {ends.high:g}"
    return f"{factor.value:g}{unit}{spread} ({factor.source}, {factor.year})"
