"""`joulebench doctor`: what this machine can measure, how to enable the rest, and whether it is quiet now."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.config.compose import compose_cell
from harness.config.schema import Config
from harness.energy.choose import gpu_source, open_sources
from harness.energy.cpu_model import find_tdp
from harness.energy.figure import Method
from harness.energy.host import cpu_name, hardware_threads
from harness.energy.quiet import Quietness, watch
from harness.energy.source import Source, SourceInfo


def main(options: argparse.Namespace) -> int:
    """Print a table of components and their remedies, the modelled CPU's assumptions, and how busy the machine is."""
    config = compose_cell(options.overrides).config
    used = open_sources(config.energy, config.hardware)
    sources = [*used, *_unused_gpus(config)]
    infos = [info for source in sources for info in source.describe()]
    tdp = find_tdp(cpu_name(), hardware_threads(), config.hardware.cpu_tdp_w)
    quietness = watch(config.protocol.max_foreign_cpu_share, sources=used)
    for source in sources:
        source.close()
    if options.json:
        print(json.dumps(_as_json(infos, tdp.origin, quietness), indent=2))
        return 0
    print_table(infos) if infos else print("energy=off: nothing is read")
    for info in infos:
        print(f"\n{info.component}: {info.detail}" + (f"\n  remedy: {info.remedy}" if info.remedy else ""))
    print(f"\nmodelled CPU, where no counter is read: {tdp.origin}")
    print(f"  it would give {tdp.low_w * 0.1:.1f} to {tdp.high_w * 1.02:.1f} W between idle and full load")
    print(f"\nquiet now: {_verdict(quietness)}")
    return 0


def print_table(infos: list[SourceInfo]) -> None:
    """One row a component: how it is obtained, from what, what that covers, and how often it is updated."""
    table = Table(box=None, pad_edge=False)
    for heading in ("component", "method", "source", "covers", "update period"):
        table.add_column(heading)
    for info in infos:
        period = "not measured" if info.update_period_s is None else f"{info.update_period_s * 1e3:.3g} ms"
        readable = info.method not in (Method.UNAVAILABLE, Method.MODELLED)
        table.add_row(info.component, info.method.value, info.source, info.covers, period if readable else "")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _unused_gpus(config: Config) -> list[Source]:
    """The first GPU, if there is one that this configuration does not use."""
    if config.hardware.accelerator == "cuda":
        return []
    source = gpu_source([0])
    found = all(info.method is not Method.UNAVAILABLE for info in source.describe())
    return [source] if found else []


def _verdict(quietness: Quietness) -> str:
    share = quietness.foreign_cpu_share
    contended = ["contended_host"] if share is not None and share > quietness.limit else []
    flags = [*contended, *(quietness.device_flags or ())]
    unknown = [
        *(["this system does not say what others use of the CPU"] if share is None else []),
        *(["the boards cannot be asked"] if quietness.device_flags is None else []),
    ]
    answer = "yes"
    if flags:
        answer = f"no: windows would be flagged {', '.join(flags)}"
    elif unknown:
        answer = f"not known: {' and '.join(unknown)}"
    if share is None:
        return answer
    return f"{answer} (others use {share:.1%} of the CPU; the limit is {quietness.limit:.0%})"


def _as_json(infos: list[SourceInfo], assumption: str, quietness: Quietness) -> dict[str, Any]:
    return {
        "sources": [asdict(info) for info in infos],
        "modelled_cpu": assumption,
        "quiet": quietness.quiet,
        **asdict(quietness),
    }
