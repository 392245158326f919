"""Task `lm-eval`: scores of lm-eval's tasks, with the energy of every request."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.exceptions import DatasetsError
from huggingface_hub.errors import OfflineModeIsEnabled
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from harness.config.task import LmEvalTaskConfig
from harness.errors import UserError, first_line
from harness.models.generation import Generator
from harness.runner.answering import generating, generator_of, likelihoods
from harness.runner.lm_eval_model import LoadedLM
from harness.runner.portions import Portions
from harness.runner.session import Session, TaskOutcome
from harness.stats.intervals import ratio_interval

PHASE = "lm-eval"
# Of lm-eval's bootstraps, for standard errors that have no formula; its own default takes minutes.
RESAMPLES = 1000
# Metrics of lm-eval that say of each question whether its answer is right, the preferred first.
_RIGHT = ("acc", "exact_match", "pass@1")


def run_lm_eval(session: Session) -> TaskOutcome:
    """Ask every question of the tasks, and keep what lm-eval finds.

    Raises:
        UserError: If a task is unknown, or its data cannot be had.
    """
    task, network = session.config.task, generator_of(session)
    assert isinstance(task, LmEvalTaskConfig)
    network.to(session.config.hardware.accelerator)
    portions = Portions(session, PHASE)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with generating(session, network):
        _warm_up(session, network)
        found = evaluate(LoadedLM(session, network, portions), task, session.config.seed)
    rights = right_answers(found["samples"])
    quality = {"lm_eval": lm_eval_record(found), **accuracy(rights, session.config.seed)}
    correct = sum(sum(right) for right in rights.values()) if rights else None
    return TaskOutcome(quality, {PHASE: "every question once"}, answers=portions.costs(None, correct))


def _warm_up(session: Session, network: Generator) -> None:
    """Likelihoods of a batch of filler, for as long as the protocol warms up."""
    protocol, started, rounds = session.config.protocol, time.perf_counter(), 0
    portions = Portions(session, "warmup", measured=False)
    filler = [session.model.tokenizer.separator_id] * min(64, session.model.context_length)
    pairs = [(filler[:1], filler[1:])] * session.config.batch_size
    while not rounds or rounds < protocol.warmup_iterations or time.perf_counter() - started < protocol.warmup_s:
        likelihoods(session, network, portions, pairs)
        rounds += 1


def evaluate(model: LoadedLM, task: LmEvalTaskConfig, seed: int) -> dict[str, Any]:
    """What lm-eval finds.

    Raises:
        UserError: If a task is unknown, or its data cannot be had.
    """
    include = None if task.include_path is None else str(Path(task.include_path).expanduser())
    manager = TaskManager(include_path=include)
    unknown = [name for name in task.tasks if not manager.match_tasks([name])]
    if unknown:
        raise UserError(
            f"task.tasks: lm-eval has no task {', '.join(unknown)}",
            remedy="`lm-eval ls tasks` lists them; task.include_path adds a folder of your own",
        )
    try:
        found = simple_evaluate(
            model=model,
            tasks=list(task.tasks),
            num_fewshot=task.num_fewshot,
            limit=task.limit,
            task_manager=manager,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
            bootstrap_iters=RESAMPLES,
        )
    except (ConnectionError, FileNotFoundError, OfflineModeIsEnabled, DatasetsError) as error:
        raise UserError(
            f"task.tasks={task.tasks}: their data cannot be had ({first_line(error)})",
            remedy="check the network, or use tasks of your own with local data (task.include_path)",
        ) from error
    assert found is not None, "one process gets what was found"
    return dict(found)


def right_answers(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[float]]:
    """Of each task whose metric says so: 1 for every right answer, 0 for every wrong one."""
    found = {}
    for name, rows in samples.items():
        metric = next((metric for metric in _RIGHT if rows and metric in rows[0]), None)
        if metric is not None:
            # A row for each of the task's filters: those of the first.
            first = rows[0].get("filter")
            found[name] = [float(row[metric]) for row in rows if row.get("filter") == first]
    return found


def accuracy(rights: Mapping[str, Sequence[float]], seed: int) -> dict[str, float | None]:
    """Mean over tasks of their accuracies; its interval over questions where there is one task."""
    if not rights:
        return {}
    means = [sum(right) / len(right) for right in rights.values()]
    interval = None
    if len(rights) == 1:
        (right,) = rights.values()
        interval = ratio_interval(list(right), [1] * len(right), seed)
    return {
        "accuracy": sum(means) / len(means),
        "accuracy_ci_low": interval.low if interval else None,
        "accuracy_ci_high": interval.high if interval else None,
    }


def lm_eval_record(found: Mapping[str, Any]) -> dict[str, Any]:
    """Of each task: its metrics with standard errors, version, few-shot examples, questions, and a hash of its YAML."""
    kept: dict[str, Any] = {}
    for name, metrics in found["results"].items():
        config = json.dumps(found["configs"].get(name, {}), sort_keys=True, default=str)
        kept[name] = {
            "metrics": {key: value for key, value in metrics.items() if isinstance(value, int | float)},
            "version": found["versions"].get(name),
            "num_fewshot": found["n-shot"].get(name),
            "questions": found["n-samples"].get(name, {}).get("effective"),
            "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
        }
    return kept
