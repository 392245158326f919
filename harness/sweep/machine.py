"""Which machine a record comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.config.fingerprint import content_hash


def machine_of(environment: Mapping[str, Any]) -> str:
    """A short readable name of the machine behind an environment: its board or processor, and a hash of both."""
    boards = [board["name"] for board in environment["gpus"]]
    hardware = [environment["cpu"], environment["logical_cpus"], environment["memory_bytes"], boards]
    name = re.sub(r"[^A-Za-z0-9]+", "-", boards[0] if boards else environment["cpu"]).strip("-").lower()[:24]
    return f"{name}-{content_hash({'hardware': hardware})[:6]}"
