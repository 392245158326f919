"""`joulebench verify`: runs a recorded cell again, from its record alone, and says what was reproduced."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.commands.compare import print_environments, print_findings
from harness.commands.display import LiveProgress
from harness.config.compose import Cell, load_config
from harness.config.fingerprint import fingerprint
from harness.config.recorded import upgraded
from harness.config.schema import Config, Paths
from harness.record.record import FILE_NAME, record_in
from harness.runner.folders import run_folder
from harness.runner.limits import heed_termination
from harness.runner.preflight import check_cells
from harness.sweep.cells import Found
from harness.sweep.compare import compare_runs, corrected
from harness.sweep.loop import run_cells


def main(options: argparse.Namespace) -> int:
    """Run the cell of a record again; 0 if every figure was reproduced, 1 if not."""
    folder = Path(options.record)
    folder = folder.parent if folder.name == FILE_NAME else folder
    record = record_in(folder)
    with tempfile.TemporaryDirectory(prefix="joulebench-verify-") as temporary:
        results = Path(options.keep) if options.keep else Path(temporary)
        config = recorded_config(record, results)
        if fingerprint(config) != record["fingerprint"]:
            print("note: this version resolves the configuration to another fingerprint than the record's")
        check_cells([Cell(config, tuple(record["overrides"]))])
        heed_termination()
        cell = Cell(replace(config, rerun="all"), tuple(record["overrides"]))
        with LiveProgress(1) as progress:
            run_cells([Found(cell, "pending", "verify")], shlex.join(["joulebench", *sys.argv[1:]]), progress)
        again = run_folder(cell.config)
        print_environments(folder, again)
        findings = corrected(compare_runs(folder, again))
    print_findings(findings)
    verdicts = [finding.verdict for finding in findings]
    reproduced = "differ" not in verdicts and "agree" in verdicts
    differing = ", ".join(finding.metric for finding in findings if finding.verdict == "differ")
    print("reproduced" if reproduced else f"not reproduced: {differing or 'there is nothing to compare'}")
    return 0 if reproduced else 1


def recorded_config(record: Mapping[str, Any], results: Path) -> Config:
    """The configuration of a record, with results elsewhere.

    Raises:
        UserError: If this version does not know it any more.
    """
    config = load_config(upgraded(record["config"]))
    return replace(config, paths=Paths(results_dir=str(results), cache_dir=config.paths.cache_dir))
