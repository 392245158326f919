"""From overrides in Hydra's grammar to frozen, validated cells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, TypeAdapter, ValidationError

from harness.config.base import T
from harness.config.model import ModelConfig
from harness.config.schema import GROUPS, Config
from harness.errors import UserError, did_you_mean

_CONFIG = TypeAdapter(Config)
_MODEL: TypeAdapter[ModelConfig] = TypeAdapter(Annotated[ModelConfig, Field(discriminator="kind")])


@dataclass(frozen=True)
class Cell:
    """One combination of a grid: its configuration and the overrides that composed it."""

    config: Config
    overrides: tuple[str, ...]


def config_dir() -> Path:
    """The folder of YAML options: inside an installed package, or at the top of a checkout."""
    installed = Path(__file__).parents[1] / "conf"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "conf"


def compose_cell(overrides: Sequence[str]) -> Cell:
    """The one cell that `overrides` describe.

    Raises:
        UserError: If an override is malformed, names an unknown key or option, has a bad value, or spans a grid.
    """
    cells = compose_grid(overrides)
    if len(cells) != 1:
        raise UserError(
            f"these overrides describe {len(cells)} cells, and `run` takes one",
            remedy="use `joulebench sweep` for a grid, or give every key a single value",
        )
    return cells[0]


def compose_grid(overrides: Sequence[str]) -> list[Cell]:
    """Every cell of the grids that `overrides` describe, in the order in which they are written.

    The study's own `grids` (a list of mappings from key to values in Hydra's sweep grammar) are expanded one after
    the other. A key given in `overrides` replaces the same key of every grid, and is left out of grids whose options
    do not have it, such as `task.steps` where a grid only scores. Equal cells are kept once.

    Raises:
        UserError: As for `compose_cell`.
    """
    with _hydra() as loader:
        # What is Hydra's own, such as its launcher, is no part of a cell.
        given = _parse([override for override in overrides if not is_hydras(override)], loader)
        _check_options(given, loader)
        study = _compose(_option_choices(given, loader), loader)
        grids = [_grid_overrides(grid, given, loader) for grid in _grids(study)]
        known = [_known_keys([*grid, *given], loader) for grid in grids]
        _check_keys(given, set().union(*known))
        composer = _Composer(loader)
        cells: dict[str, Cell] = {}
        for grid, keys in zip(grids, known, strict=True):
            _check_keys(grid, keys)
            applicable = [override for override in given if _is_known(override, keys)]
            for choice in _expand([*grid, *applicable]):
                container = composer.container(choice)
                text = json.dumps(container, sort_keys=True)
                if text not in cells:
                    cells[text] = Cell(_validated_text(_CONFIG, text), tuple(choice))
    return list(cells.values())


def resolved_config(config: Config) -> dict[str, Any]:
    """The configuration as plain containers, ready for JSON or YAML."""
    return cast(dict[str, Any], json.loads(_CONFIG.dump_json(config)))


def load_model_config(container: Mapping[str, Any]) -> ModelConfig:
    """The `model` part of a resolved configuration.

    Raises:
        UserError: If a key is unknown or a value has the wrong type.
    """
    return _validated(_MODEL, container)


def load_config(container: Mapping[str, Any]) -> Config:
    """The inverse of `resolved_config`.

    Raises:
        UserError: If a key is unknown or a value has the wrong type.
    """
    return _validated(_CONFIG, container)


def _validated(adapter: TypeAdapter[T], container: Mapping[str, Any]) -> T:
    return _validated_text(adapter, json.dumps(container))


def _validated_text(adapter: TypeAdapter[T], text: str) -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise _explain_validation(error) from error


def option_defaults(chosen: Mapping[str, str]) -> dict[str, Any]:
    """The configuration of some options, as plain containers, with every other key at its default.

    Raises:
        UserError: If there is no such option.
    """
    with _hydra() as loader:
        return _Base.of(_compose([f"{group}={name}" for group, name in chosen.items()], loader)).container


def option_names(group: str) -> list[str]:
    """The options of a config group, from the files of `conf/` and Hydra's search path."""
    with _hydra() as loader:
        return _options(group, loader)


def _options(group: str, loader: ConfigLoader) -> list[str]:
    """Options a user may choose; those that begin with an underscore are bases of others."""
    return [name for name in loader.get_group_options(group) if not name.startswith("_")]


def _groups(loader: ConfigLoader) -> list[str]:
    found = loader.get_group_options("", results_filter=ObjectType.GROUP)
    # Sites are for reports; no part of a cell.
    return sorted({group for group in found if group not in ("hydra", "config", "site")})


@contextmanager
def hydra_session(overrides: Sequence[str], more: Sequence[str] = ()) -> Iterator[DictConfig]:
    """Hydra's own configuration, within which its launchers work; its logging and its output folders are off.

    Raises:
        UserError: If an override is not known, such as a launcher whose plugin is not installed.
    """
    quiet = ["hydra/job_logging=disabled", "hydra/hydra_logging=disabled", "hydra.output_subdir=null"]
    with _hydra():
        try:
            config: DictConfig = compose("config", overrides=[*quiet, *overrides, *more], return_hydra_config=True)
        except HydraException as error:
            launchers = "pip install 'joulebench[launchers]' brings joblib, submitit_local and submitit_slurm"
            raise UserError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}", remedy=launchers) from error
        yield config


def is_hydras(override: str) -> bool:
    """Whether an override is about Hydra itself."""
    return override.lstrip("+~").startswith("hydra")


def launcher_of(overrides: Sequence[str]) -> str:
    """The launcher that overrides choose; `basic` where they choose none."""
    chosen = [override.partition("=")[2] for override in overrides if override.startswith("hydra/launcher=")]
    return chosen[-1] if chosen else "basic"


@contextmanager
def _hydra() -> Iterator[ConfigLoader]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="joulebench"):
        yield GlobalHydra.instance().config_loader()


def _parse(overrides: Sequence[str], loader: ConfigLoader) -> list[Override]:
    try:
        parsed: list[Override] = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        return parsed
    except HydraException as error:
        raise UserError(
            f"cannot read an override: {str(error).splitlines()[0]}",
            remedy="write key=value, with several values separated by commas: batch_size=1,8",
        ) from error


def _check_options(overrides: Sequence[Override], loader: ConfigLoader) -> None:
    groups = _groups(loader)
    for override in overrides:
        if override.key_or_group == "experiment" and override.is_sweep_override():
            studies = [f"joulebench sweep experiment={name}" for name in _values(override)]
            raise UserError(f"{override.input_line}: one study at a time", remedy=f"run {', then '.join(studies)}")
        if override.key_or_group not in groups or override.is_delete():
            continue
        known = _options(override.key_or_group, loader)
        for value in _values(override):
            if value is not None and value not in known:
                raise UserError(
                    f"{override.key_or_group}={value}: no such option",
                    allowed=known,
                    remedy=did_you_mean(str(value), known),
                )


def _values(override: Override) -> list[Any]:
    values: list[Any] = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    return values


def _grid_overrides(grid: dict[str, str], given: Sequence[Override], loader: ConfigLoader) -> list[Override]:
    replaced = {override.key_or_group for override in given}
    overrides = _parse([f"{key}={value}" for key, value in grid.items() if key not in replaced], loader)
    _check_options(overrides, loader)
    return overrides


def _known_keys(overrides: Sequence[Override], loader: ConfigLoader) -> set[str]:
    """Groups, and the keys of the options that the overrides choose (of a sweep, the first)."""
    config = _compose(_option_choices(overrides, loader), loader)
    return {*_dotted_keys(config), *_groups(loader)}


def _is_known(override: Override, known: set[str]) -> bool:
    key = override.key_or_group
    return key in known or override.is_add()


def _check_keys(overrides: Sequence[Override], known: set[str]) -> None:
    for override in overrides:
        if _is_known(override, known):
            continue
        key = override.key_or_group
        siblings = sorted(name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0])
        raise UserError(
            f"{key}: no such key",
            allowed=siblings or sorted(name for name in known if "." not in name),
            remedy=did_you_mean(key, known) or "`joulebench run --cfg` prints every key",
        )


def _dotted_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key, value in config.items_ex(resolve=False):
        name = f"{prefix}{str(key)}"
        yield name
        if isinstance(value, DictConfig):
            yield from _dotted_keys(value, f"{name}.")


def _option_choices(overrides: Sequence[Override], loader: ConfigLoader) -> list[str]:
    """The overrides that choose options, the first of each sweep: enough to know which keys exist."""
    groups = _groups(loader)
    choices = [override for override in overrides if override.key_or_group in groups and not override.is_delete()]
    return [f"{override.get_key_element()}={_values(override)[0]}" for override in choices]


def _grids(study: DictConfig) -> list[dict[str, str]]:
    grids = OmegaConf.to_container(study.grids)
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise UserError("grids must be a list of mappings from a key to its values, such as {batch_size: '1,8'}")
    return cast(list[dict[str, str]], grids) or [{}]


def _expand(overrides: Sequence[Override]) -> list[list[str]]:
    batches: list[list[list[str]]] = BasicSweeper.split_arguments(list(overrides), max_batch_size=None)
    return batches[0]


def _compose(overrides: Sequence[str], loader: ConfigLoader) -> DictConfig:
    try:
        config: DictConfig = compose("config", overrides=list(overrides), return_hydra_config=True)
        choices = config.hydra.runtime.choices
        OmegaConf.set_struct(config, False)
        for group in GROUPS:
            config[group].name = choices[group]
        del config["hydra"]
        return config
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"{' '.join(overrides)}: {reason}") from error


@dataclass(frozen=True)
class _Base:
    """What Hydra composes of a choice of options, before single values are set.

    Attributes:
        container: As plain containers.
        missing: Keys that have no value yet.
        independent: Whether no value is made of others, so that one can be set without the others changing.
    """

    container: dict[str, Any]
    missing: frozenset[str]
    independent: bool

    @classmethod
    def of(cls, config: DictConfig) -> _Base:
        missing = frozenset(OmegaConf.missing_keys(config))
        container = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=False))
        del container["grids"]
        raw = json.dumps(OmegaConf.to_container(config, resolve=False, throw_on_missing=False))
        return cls(container, missing, "${" not in raw.replace("${oc.env:", ""))


class _Composer:
    """Composes the cells of a grid: Hydra once for each choice of options, and single values set in copies of that."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._groups = set(_groups(loader))
        self._parsed: dict[str, Override] = {}
        self._bases: dict[tuple[str, ...], _Base] = {}

    def container(self, choice: Sequence[str]) -> dict[str, Any]:
        """A cell's configuration as plain containers.

        Raises:
            UserError: If Hydra cannot compose it, or a key has no value.
        """
        overrides = [self._parse(text) for text in choice]
        values = [override for override in overrides if override.key_or_group not in self._groups]
        options = tuple(text for text, o in zip(choice, overrides, strict=True) if o.key_or_group in self._groups)
        base = self._base(options)
        container = self._with_values(base, values)
        if container is None:
            base, values = self._base(tuple(choice)), []
            container = base.container
        if base.missing and (missing := sorted(base.missing - {override.key_or_group for override in values})):
            raise UserError(f"{missing[0]} is not set", remedy=f"add {missing[0]}=... to the command")
        return container

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            (self._parsed[text],) = _parse([text], self._loader)
        return self._parsed[text]

    def _base(self, choice: tuple[str, ...]) -> _Base:
        if choice not in self._bases:
            self._bases[choice] = _Base.of(_compose(choice, self._loader))
        return self._bases[choice]

    @staticmethod
    def _with_values(base: _Base, values: Sequence[Override]) -> dict[str, Any] | None:
        """A copy of a base with values set; None where only Hydra can set one of them."""
        if not base.independent:
            return None
        container = dict(base.container)
        for override in values:
            made_of_others = "${" in (override.input_line or "")
            changes_keys = made_of_others or override.is_force_add() or override.is_add() or override.is_delete()
            if changes_keys or isinstance(override.value(), dict):
                return None
            path = override.key_or_group.split(".")
            place: Any = container
            for name in path[:-1]:
                if not isinstance(place.get(name), dict):
                    return None
                place[name] = dict(place[name])
                place = place[name]
            if path[-1] not in place or isinstance(place[path[-1]], dict):
                return None
            place[path[-1]] = override.value()
        return container


def _explain_validation(error: ValidationError) -> UserError:
    first = error.errors(include_url=False)[0]
    key = ".".join(_field_path(first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "unexpected_keyword_argument":
        return UserError(f"{key}: no such key", remedy="`joulebench run --cfg` prints every key")
    if isinstance(first["input"], dict):
        return UserError(f"{key}: {message}" if key else message)
    return UserError(f"{key}={first['input']}: {message}")


def _field_path(location: tuple[int | str, ...]) -> list[str]:
    """A pydantic location without the tags of discriminated unions, which stand behind their field's name."""
    tagged = {"task", "model", "compression", "backend", "data", "tokenizer"}
    parts = [str(part) for part in location]
    return [part for index, part in enumerate(parts) if not (index and parts[index - 1] in tagged)]
