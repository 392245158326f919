"""Metadata of Hugging Face model cards: `model-index` and `co2_eq_emissions`, one card a run with a quality.

Field names: the hub's model card specification, through huggingface_hub, and its page on carbon emissions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from harness.metrics.registry import BY_NAME, METRICS
from harness.report.exports import Study, dig, known, write_text
from harness.report.site import Site, site_sentence

# The hub's name of a task, by what was measured; any other measure is of text generation.
TASKS = {
    "bleu": "translation",
    "pseudo_perplexity": "fill-mask",
    "rouge_l": "summarization",
    "exact_match": "question-answering",
}


def write(study: Study) -> list[Path]:
    """Write model-index/<run_id>.md for each run that is ok and has a quality; returns the files."""
    runs = study.collected.runs
    written = []
    for _, row in runs[runs["status"] == "ok"].iterrows():
        run = known(row)
        record = study.collected.records[run["run_id"]]
        results = evaluations(run, record)
        if results:
            card = card_data(run, record, results, study.site)
            text = f"---\n{card.to_yaml()}\n---\n\n{_body(run)}\n"
            written.append(write_text(study.exports / "model-index" / f"{run['run_id']}.md", text))
    return written


def evaluations(run: Mapping[str, Any], record: Mapping[str, Any]) -> list[EvalResult]:
    """A run's qualities, each with its 95 % interval in its name where there is one."""
    names = [m.name for m in METRICS if m.path.startswith("quality.") and m.better and m.name in run]
    task = next((TASKS[name] for name in names if name in TASKS), "text-generation")
    return [
        EvalResult(
            task_type=task,
            dataset_type=run["data"],
            dataset_name=dig(record, "data.source") or run["data"],
            dataset_split=dig(record, "quality.protocol.split"),
            dataset_args={"content_sha256": dig(record, "data.content_sha256")},
            metric_type=name,
            metric_name=BY_NAME[name].label + _interval(run, name),
            metric_value=run[name],
        )
        for name in names
    ]


def card_data(
    run: Mapping[str, Any], record: Mapping[str, Any], results: list[EvalResult], site: Site | None
) -> ModelCardData:
    """A card's metadata.

    Emissions are those of a training alone, since the hub reads them as what it took to make the model; in grams of
    CO2 equivalents, and only where a site's factors gave them.
    """
    card = ModelCardData(model_name=run["model"], eval_results=results)
    if site is not None and "carbon_g" in run and "train_steps" in run:
        card["co2_eq_emissions"] = _emissions(run, record, site)
    return card


def _emissions(run: Mapping[str, Any], record: Mapping[str, Any], site: Site) -> dict[str, Any]:
    fresh = dig(record, "model.source") == "random initialisation"
    devices = dig(record, "config.hardware.devices")
    method = run.get("run_energy_method", "of an unknown method")
    return {
        "emissions": run["carbon_g"],
        "source": f"JouleBench; energy is {method.replace('_', ' ')}. {site_sentence(site)}",
        "training_type": "pre-training" if fresh else "fine-tuning",
        "geographical_location": site.name,
        "hardware_used": f"{devices} x {run['device_name']}" if devices else run["device_name"],
    }


def _interval(run: Mapping[str, Any], name: str) -> str:
    low, high = run.get(f"{name}_ci_low"), run.get(f"{name}_ci_high")
    return "" if low is None or high is None else f" (95 % interval {low:.4g} to {high:.4g})"


def _body(run: Mapping[str, Any]) -> str:
    return (
        f"Of JouleBench run `{run['run_id']}` in study `{run['study']}`: precision {run.get('precision')}, batch size "
        f"{run.get('batch_size')}, seed {run.get('seed')}, on {run.get('device_name')}."
    )
