"""`joulebench project`: a run's energy, extended to a larger model, more tokens or a number of requests."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields

from harness.commands.compare import find_folder
from harness.record.record import record_in
from harness.report.projection import Workload, as_dict, as_lines, project
from harness.report.site import load_site


def main(options: argparse.Namespace) -> int:
    """Print the projection with what it assumes; 0."""
    folder = find_folder(options.record, options.results_dir)
    work = Workload(**{field.name: getattr(options, field.name) for field in fields(Workload)})
    projection = project(record_in(folder), work, load_site(options.site) if options.site else None)
    print(json.dumps(as_dict(projection), indent=2) if options.json else "\n".join(as_lines(projection)))
    return 0
