"""Configurations that an earlier version wrote into a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config.compose import option_defaults
from harness.config.schema import GROUPS

# What a new key would do by default, and older versions did not.
_OFF = {"near_duplicates": False}


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration with the keys that came later, as its options have them by default today.

    Raises:
        UserError: If an option of it is not there any more.
    """
    recorded = dict(config)
    task = dict(recorded["task"])
    if task["kind"] == "generate" and task.pop("compile", False):
        recorded["backend"] = {"kind": "compile", "name": "compile"}
    recorded["task"] = task
    chosen = {group: recorded[group]["name"] for group in GROUPS if group in recorded}
    return _filled(recorded, option_defaults(chosen))


def _filled(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The given keys, and those of the defaults that are missing; an option of another kind has other keys."""
    if given.get("kind") != defaults.get("kind"):
        return dict(given)
    filled = {**defaults, **_off(defaults), **given}
    for key, value in given.items():
        if isinstance(value, Mapping) and isinstance(defaults.get(key), Mapping):
            filled[key] = _filled(value, defaults[key])
    missing = [key for key, value in defaults.items() if key not in given and isinstance(value, Mapping)]
    return {**filled, **{key: {**defaults[key], **_off(defaults[key])} for key in missing}}


def _off(defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in _OFF.items() if key in defaults}
