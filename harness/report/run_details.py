"""What the page shows of one run: its configuration, its machine, its doubts, and the end of its log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.report.collect import Collected

LOG = "run.log"
# Characters of a log's end, and the number of runs up to which those that are ok have one too.
TAIL, FEW = 2000, 500
# Parts of a record that many runs share; the rest of it stands in the table.
SHARED_PARTS = ("environment", "model", "data", "energy_sources")


def details(collected: Collected) -> dict[str, Any]:
    """Everything by run, with what many share told once: configurations as differences, other parts by number."""
    configs: dict[str, dict[str, str]] = {}
    pool: dict[str, int] = {}
    runs: dict[str, dict[str, Any]] = {}
    few = len(collected.records) <= FEW
    for run_id, record in collected.records.items():
        configs[run_id] = flat(record.get("config", {}))
        log = log_tail(collected.files.folders[run_id]) if few or record.get("status") != "ok" else ""
        runs[run_id] = {
            "command": record.get("command", ""),
            "started_at": record.get("started_at", ""),
            "reason": record.get("reason", ""),
            "log": log,
            **{part: pool.setdefault(_text(record.get(part)), len(pool)) for part in SHARED_PARTS},
        }
    shared = common(configs.values())
    for run_id, config in configs.items():
        runs[run_id]["config"] = {key: value for key, value in config.items() if shared.get(key) != value}
    return {"shared": shared, "pool": [json.loads(text) for text in pool], "runs": runs}


def common(configs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Keys and values that all of them have."""
    shared: dict[str, str] | None = None
    for config in configs:
        kept = config if shared is None else {key: value for key, value in shared.items() if config.get(key) == value}
        shared = dict(kept)
    return shared or {}


def _text(part: Any) -> str:
    """A part of a record as the JSON of flat mappings."""
    several = part if isinstance(part, list) else [part]
    return json.dumps([flat(each) if isinstance(each, Mapping) else {} for each in several])


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested keys as one, joined by dots, with their values as text."""
    found: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = "" if value is None else str(value)
    return found


def log_tail(folder: Path) -> str:
    """The end of a run's log, from a whole line on; empty where none was kept."""
    path = folder / LOG
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        text = file.read().decode("utf-8", errors="replace")
    return text if path.stat().st_size <= TAIL else text.partition("\n")[2]
