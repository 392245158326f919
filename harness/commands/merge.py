"""`joulebench merge`: brings the results of several machines together."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from harness.sweep.merge import merge


def main(options: argparse.Namespace) -> int:
    """Copy every run of the sources into the destination; 0."""
    done = []
    for one in merge([Path(source) for source in options.sources], Path(options.destination)):
        done.append(one)
        if one.what != "same":
            print(f"{one.what} {one.target}" + (f" (not {one.source})" if one.what == "kept" else ""))
    counts = Counter(one.what for one in done)
    print(f"{len(done)} runs: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return 0
