"""Seconds and memory of a report over many records: copies of committed ones with other seeds."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

REFERENCE = Path(__file__).parent.parent / "results" / "reference" / "precision_quality"
MEASURE = """
import resource, sys, time
from harness.__main__ import main
started = time.perf_counter()
main(["report", "many", "--results-dir", sys.argv[1]])
print("SECONDS", time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def make(results: Path, count: int) -> None:
    """A study of `count` runs, each with everything that a run leaves but its log."""
    folders = [path.parent for path in sorted(REFERENCE.glob("*/record.json"))]
    for number in range(count):
        source = folders[number % len(folders)]
        record = json.loads((source / "record.json").read_text())
        seed = number // len(folders)
        record["run_id"] = f"{record['run_id']}-{seed}"
        record["cell"]["seed"] = record["config"]["seed"] = seed
        folder = results / "many" / record["run_id"]
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(record))
        for raw in source.glob("*.parquet"):
            (folder / raw.name).symlink_to(raw.resolve())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", nargs="*", type=int, default=[100, 10_000])
    print(f"{'records':>10}{'seconds':>10}{'peak GiB':>10}{'page MB':>10}")
    for count in parser.parse_args().records:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), count)
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, folder], capture_output=True, text=True, check=True
            ).stdout
            _, seconds, peak = done.splitlines()[-1].split()
            page = (Path(folder) / "many" / "report.html").stat().st_size / 1e6
        print(f"{count:>10}{float(seconds):>10.1f}{float(peak) / 2**30:>10.2f}{page:>10.1f}", flush=True)


if __name__ == "__main__":
    main()
