"""What the harness costs beside the work: start of the command line, edges of a window, a Trainer around a pass."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.config.compose import compose_cell
from harness.energy.choose import open_sources
from harness.energy.meter import EnergyMeter
from harness.energy.rapl import RaplSource, Zone
from harness.energy.trace import PERIOD_S, PowerSampler


def median_s(action: Callable[[], object], times: int) -> float:
    """Median seconds of an action over some calls, after one that is not counted."""
    action()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def sampler_share(seconds: float = 3.0) -> float:
    """CPU seconds a second that sampling four RAPL zones takes at the harness's period; the zones are plain files."""
    with TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(4)]
        for file in files:
            file.write_text("1000000")
        zones = [Zone(file.name, lambda file=file: float(file.read_text()), 1e9, 1000.0) for file in files]
        sampler = PowerSampler([RaplSource({"cpu": zones[:2], "dram": zones[2:]}).sample], PERIOD_S)
        sampler.start()
        time.sleep(seconds)
        sampler.stop()
    return sampler.cpu_s / seconds


def main() -> None:
    """Print a table of medians."""
    config = compose_cell([]).config
    meter = EnergyMeter(open_sources(config.energy, config.hardware))

    def empty_window() -> None:
        with meter.window("idle"):
            pass

    help_command = [sys.executable, "-m", "harness", "--help"]
    rows = {
        "joulebench --help": median_s(lambda: subprocess.run(help_command, capture_output=True, check=True), 10),
        "compose one cell": median_s(lambda: compose_cell(["model=gpt-nano", "task=train"]), 20),
        "both edges of a window": median_s(empty_window, 100),
        "of it inside the window": statistics.median(window.duration_s for window in meter.windows),
    }
    meter.close()
    for name, seconds in rows.items():
        print(f"{name:<26} {seconds * 1e3:9.3f} ms")
    print(f"{'sampler, of one core':<26} {sampler_share() * 100:9.3f} %")


if __name__ == "__main__":
    main()
