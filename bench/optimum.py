"""Our decoding and our process per cell beside optimum-benchmark's, on the same local model.

optimum-benchmark needs an environment of its own (it wants an older transformers):

    python -m venv optimum && optimum/bin/pip install torch==2.13.0 optimum-benchmark==0.6.0
    optimum/bin/pip install transformers==4.55.4 datasets==3.6.0 'huggingface_hub<1' codecarbon==3.3.2
    python -m bench.optimum --python optimum/bin/python

Both take turns: a cell of ours, then one of theirs, with the same prompt and output lengths.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.config.compose import compose_grid
from harness.models.gguf import dequantised
from harness.record.record import Record
from harness.sweep.worker import Worker

PROMPT, OUTPUT, SECONDS = 64, 32, 4

PEER = """
import json, sys, time
from optimum_benchmark import Benchmark, BenchmarkConfig, InferenceConfig, ProcessConfig, PyTorchConfig

if __name__ == "__main__":
    folder, prompt, output, seconds = sys.argv[1], *map(int, sys.argv[2:5])
    lengths = {"max_new_tokens": output, "min_new_tokens": output}
    config = BenchmarkConfig(
        name="bench",
        launcher=ProcessConfig(),
        scenario=InferenceConfig(latency=True, warmup_runs=1, iterations=2, duration=seconds, generate_kwargs=lengths,
                                 input_shapes={"batch_size": 1, "sequence_length": prompt}),
        backend=PyTorchConfig(model=folder, device="cpu", task="text-generation", torch_dtype="float32"),
    )
    started = time.perf_counter()
    report = Benchmark.launch(config).to_dict()
    wall = time.perf_counter() - started
    print("REPORT" + json.dumps({"wall_s": wall, "report": report}, default=str))
"""


def ours(worker: Worker, cell: Any) -> dict[str, float]:
    """Decoding rate, and seconds of a cell outside its windows."""
    started = time.perf_counter()
    record = worker.run(cell, "bench", lambda told: None)
    wall = time.perf_counter() - started
    assert isinstance(record, Record)
    assert record.status == "ok", record.reason
    inside = sum(phase["duration_s"] for phase in record.summary["all_windows"].values())
    decode = record.summary["phases"]["decode"]["tokens_per_second"]
    return {"decode tokens/s": decode, "seconds outside": wall - inside}


def theirs(python: str, script: Path, folder: Path) -> dict[str, float]:
    """The same of optimum-benchmark, whose decoding is `generate` less a first token of its own loop."""
    arguments = [python, str(script), str(folder), *map(str, (PROMPT, OUTPUT, SECONDS))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.split("\n") if line.startswith("REPORT")]
    if not lines:
        raise SystemExit(f"optimum-benchmark failed:\n{done.stderr[-3000:]}")
    told = json.loads(lines[0].removeprefix("REPORT"))
    # per_token is another view of the same seconds, and decode is what generate took less prefill.
    derived = ("per_token", "decode")
    parts = [part for name, part in told["report"].items() if name not in derived and part.get("latency")]
    measured = sum(part["latency"]["total"] for part in parts)
    decode = told["report"]["decode"]["throughput"]["value"]
    return {"decode tokens/s": decode, "seconds outside": told["wall_s"] - measured}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="interpreter of an environment with optimum-benchmark")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        script = Path(name, "peer.py")
        script.write_text(PEER)
        axes = ["task=generate", "batch_size=1", "task.score=false", "task.requests=4", "energy=modelled"]
        lengths = [f"task.prompt_tokens={PROMPT}", f"task.output_tokens={OUTPUT}"]
        seeds = f"seed={','.join(map(str, range(options.rounds + 1)))}"
        first, *cells = compose_grid([*axes, *lengths, seeds, f"paths.results_dir={name}/results"])
        folder, _ = dequantised(first.config.model, Path(first.config.paths.cache_dir).expanduser())  # type: ignore[arg-type]
        worker = Worker()
        ours(worker, first)  # starts the server
        pairs = [(ours(worker, cell), theirs(options.python, script, folder)) for cell in cells]
    print(f"{'median of ' + str(len(pairs)):24}{'ours':>10}{'optimum-benchmark':>20}")
    for figure in pairs[0][0]:
        a, b = (statistics.median(pair[side][figure] for pair in pairs) for side in (0, 1))
        print(f"{figure:24}{a:10.2f}{b:20.2f}")


if __name__ == "__main__":
    main()
