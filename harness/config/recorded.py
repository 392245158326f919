"""Configurations that an earlier version wrote into a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Keys that came later, with what there was before them.
_SWEEP = {
    "isolation": "process",
    "order": "given",
    "retry": "failed",
    "rerun": "none",
    "environment": "keep",
    "time_limit_s": None,
    "memory_limit_bytes": None,
}


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration with the keys that it lacks."""
    new = {**_SWEEP, "backend": {"kind": "eager", "name": "eager"}, **config}
    new.setdefault("compression", {"kind": "none", "name": "none"})
    cluster = dict.fromkeys(("partition", "constraint", "gpus", "cpus", "memory_gb", "time_min"))
    new["hardware"] = {"strategy": "ddp", "cluster": cluster, **config["hardware"]}
    task = dict(config["task"])
    if task["kind"] == "generate" and "compile" in task and task.pop("compile"):
        new["backend"] = {"kind": "compile", "name": "compile"}
    if "scoring" in task:
        task["scoring"] = {"documents": "packed", **task["scoring"]}
    if config["model"]["kind"] in ("hub", "local"):
        new["model"] = {"allow_pickle": False, "weights": "pretrained", **config["model"]}
    return {**new, "task": task}
