"""`joulebench doctor`: what this machine can measure, and how to enable the rest."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from harness.config.compose import compose_cell
from harness.energy.choose import open_sources


def main(options: argparse.Namespace) -> int:
    """Print one line a component: its source, what it covers, and the remedy where something is missing."""
    config = compose_cell(options.overrides).config
    table = Table(box=None, pad_edge=False)
    for heading in ("component", "method", "source", "covers", "detail", "remedy"):
        table.add_column(heading, overflow="fold")
    sources = open_sources(config.energy, config.hardware)
    for info in [info for source in sources for info in source.describe()]:
        table.add_row(info.component, info.method.value, info.source, info.covers, info.detail, info.remedy)
    for source in sources:
        source.close()
    Console().print(table if sources else "energy=off: nothing is read")
    return 0
