"""What makes two cells the same: a hash of the resolved configuration without what cannot change a result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from harness.config.compose import resolved_config
from harness.config.schema import Config

# The study's name and the folders say where a result goes, not what it is; a logger only watches; and how a sweep
# treats its cells decides whether there is a result, not which.
_NOT_IDENTITY = (
    *("study", "paths", "logger"),
    *("isolation", "order", "retry", "rerun", "environment", "time_limit_s", "memory_limit_bytes"),
)


def content_hash(container: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a container's canonical JSON: sorted keys, no white space."""
    canonical = json.dumps(container, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def fingerprint(config: Config) -> str:
    """The cell's identity as 16 hexadecimal digits."""
    identity = {key: value for key, value in resolved_config(config).items() if key not in _NOT_IDENTITY}
    # What is off is no part of a cell, so that a new option does not make new cells of old ones.
    identity["hardware"] = _without(identity["hardware"], "cluster")
    if config.hardware.devices == 1:
        identity["hardware"] = _without(identity["hardware"], "strategy")
    if config.energy.host:
        identity["energy"] = _without(identity["energy"], "host")
    if config.precision.quantisation is None:
        identity["precision"] = _without(identity["precision"], "quantisation", "group_size")
    if identity["task"].get("scoring", {}).get("documents") == "packed":
        identity["task"] = {**identity["task"], "scoring": _without(identity["task"]["scoring"], "documents")}
    if config.compression.kind == "none":
        identity = _without(identity, "compression")
    if not identity["model"].get("allow_pickle"):
        identity["model"] = _without(identity["model"], "allow_pickle")
    if config.backend.kind == "eager":
        identity = _without(identity, "backend")
    if config.task.kind == "generate":
        identity["task"] = {**identity["task"], "compile": False}  # As it was told before there were backends.
    return content_hash(identity)[:16]


def replicate_fingerprint(resolved: Mapping[str, Any]) -> str:
    """What runs that differ in nothing but their seed have in common, as 16 hexadecimal digits.

    Args:
        resolved: The configuration of a record.
    """
    return content_hash(_without(resolved, *_NOT_IDENTITY, "seed"))[:16]


def _without(container: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in container.items() if key not in names}


def run_id(config: Config) -> str:
    """Readable folder name of the cell's run; it ends in the first 8 digits of the fingerprint."""
    parts = [
        config.task.name,
        config.model.label,
        *([] if config.compression.kind == "none" else [config.compression.label]),
        *([] if config.backend.kind == "eager" else [config.backend.name]),
        config.data.label,
        config.precision.name,
        f"b{config.batch_size}",
        config.hardware.name,
        f"s{config.seed}",
    ]
    readable = "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-") for part in parts)
    return f"{readable[:120]}-{fingerprint(config)[:8]}"
