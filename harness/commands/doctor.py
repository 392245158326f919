"""`joulebench doctor`: what this machine can measure, how to enable the rest, and whether it is quiet now."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from typing import Any

from harness.config.compose import compose_cell
from harness.config.schema import Config
from harness.energy.choose import gpu_source, open_sources
from harness.energy.cpu_model import find_tdp
from harness.energy.figure import Method
from harness.energy.host import cpu_name
from harness.energy.quiet import Quietness, watch
from harness.energy.source import Source, SourceInfo


def main(options: argparse.Namespace) -> int:
    """Print a paragraph a component, the assumptions of the modelled CPU, and how busy the machine is."""
    config = compose_cell(options.overrides).config
    sources = open_sources(config.energy, config.hardware)
    infos = [info for source in [*sources, *_unused_gpus(config)] for info in source.describe()]
    for source in sources:
        source.close()
    tdp = find_tdp(cpu_name(), os.cpu_count() or 1, config.hardware.cpu_tdp_w)
    quietness = watch(config.protocol.max_foreign_cpu_share)
    if options.json:
        print(json.dumps(_as_json(infos, tdp.origin, quietness), indent=2))
        return 0
    print("\n".join(describe(info) for info in infos) or "energy=off: nothing is read")
    print(f"modelled CPU, where no counter is read\n  assumes       {tdp.origin}")
    print(f"  gives         {tdp.low_w * 0.1:.1f} to {tdp.high_w * 1.02:.1f} W between idle and full load")
    print(f"quiet now     {_verdict(quietness)}")
    return 0


def describe(info: SourceInfo) -> str:
    """A source as a paragraph; lines that would be empty are left out."""
    lines = {
        "method": info.method.value,
        "source": info.source,
        "covers": info.covers,
        "update period": "" if info.update_period_s is None else f"{info.update_period_s * 1e3:.3g} ms, measured",
        "detail": info.detail,
        "remedy": info.remedy,
    }
    return "\n".join([info.component, *(f"  {name:<14}{text}" for name, text in lines.items() if text)])


def _unused_gpus(config: Config) -> list[Source]:
    """The first GPU, if there is one that this configuration does not use."""
    if config.hardware.accelerator == "cuda":
        return []
    source = gpu_source([0])
    found = all(info.method is not Method.UNAVAILABLE for info in source.describe())
    return [source] if found else []


def _verdict(quietness: Quietness) -> str:
    answer = "yes" if quietness.quiet else "no: windows would be flagged contended_host"
    return f"{answer} (others use {quietness.foreign_cpu_share:.1%} of the CPU; the limit is {quietness.limit:.0%})"


def _as_json(infos: list[SourceInfo], assumption: str, quietness: Quietness) -> dict[str, Any]:
    return {
        "sources": [asdict(info) for info in infos],
        "modelled_cpu": assumption,
        "quiet": quietness.quiet,
        **asdict(quietness),
    }
