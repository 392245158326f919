"""`joulebench doctor`: what this machine can measure, and how to enable the rest."""

from __future__ import annotations

import argparse

from harness.config.compose import compose_cell
from harness.energy.choose import open_sources
from harness.energy.source import SourceInfo


def main(options: argparse.Namespace) -> int:
    """Print a paragraph a component: its source, what it covers, and the remedy where something is missing."""
    config = compose_cell(options.overrides).config
    sources = open_sources(config.energy, config.hardware)
    for info in [info for source in sources for info in source.describe()]:
        print(describe(info))
    for source in sources:
        source.close()
    if not sources:
        print("energy=off: nothing is read")
    return 0


def describe(info: SourceInfo) -> str:
    """A source as a paragraph; lines that would be empty are left out."""
    lines = {
        "method": info.method.value,
        "source": info.source,
        "covers": info.covers,
        "update period": "" if info.update_period_s is None else f"{info.update_period_s * 1e3:.3g} ms",
        "detail": info.detail,
        "remedy": info.remedy,
    }
    return "\n".join([info.component, *(f"  {name:<14}{text}" for name, text in lines.items() if text)])
