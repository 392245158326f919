"""Studies for tests of reports: records as runs leave them, with numbers that can be worked out by hand."""

import json

import pandas as pd


def record(model="gpt-nano", precision="fp32", batch=1, cost=0.01, ppl=50.0, method="modelled", status="ok", **cell):
    axes = {"task": "score", "model": model, "data": "chitchat", "batch_size": batch, "precision": precision,
            "hardware": "cpu", "device_name": "CPU X", "protocol": "smoke", "seed": 0, **cell}  # fmt: skip
    phase = {
        "repeats": 3, "joules_per_token": cost, "joules_per_token_ci_low": cost * 0.2, "joules_per_token_ci_high": cost * 2,
        "joules_per_token_low": cost * 0.25, "joules_per_token_high": cost * 1.9,
        "joules_per_token_relative_half_width": 0.03, "tokens_per_second": 10 / cost, "energy_method": method,
        "energy_components": "cpu", "cpu_energy_j": cost * 1000, "mean_power_w": 10.0, "joules_per_byte": cost / 4,
        "flags": ["contended_host"], "mfu": None,
    }  # fmt: skip
    done = status == "ok"
    return {
        "schema_version": 1, "study": "s", "run_id": f"{model}-{precision}-b{batch}", "fingerprint": "f", "status": status,
        "cell": axes, "model": {"num_parameters": 1000} if done else {}, "duration_s": 5.0,
        "quality": {"perplexity": ppl, "word_perplexity": ppl * 9, "bits_per_byte": 2.0} if done else {},
        "summary": {"main_phase": "score", "phases": {"score": phase} if done else {}}, "reason": "" if done else "why",
    }  # fmt: skip


GRID = [
    record(precision=p, batch=b, cost=c, ppl=50.0 if p == "fp32" else 51.0)
    for p, b, c in (("fp32", 1, 0.02), ("fp32", 8, 0.01), ("bf16", 1, 0.012), ("bf16", 8, 0.006))
]


def write_study(results, *records, name="s", **frames):
    """Write records, and under `<run_id>` the frames by file name."""
    for entry in records:
        folder = results / name / entry["run_id"]
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(entry))
        for file, rows in frames.items():
            pd.DataFrame(rows).to_parquet(folder / f"{file}.parquet")
    return results / name
