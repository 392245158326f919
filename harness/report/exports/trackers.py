"""Upload of a study's runs to an experiment tracker: configuration, summary, status, and the tables as an artifact.

Where to is the tracker's own business: MLFLOW_TRACKING_URI, WANDB_MODE, WANDB_ENTITY and so on. A run that is there
already is not added again.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import UserError
from harness.report.exports import Study, known

PROJECT = "joulebench"
IDENTITY = "joulebench.identity"  # Tag of a run in MLflow.
MLFLOW_BATCH = 100  # Parameters that MLflow takes at once.
MLFLOW_VALUE = 5000  # Characters of a parameter or a tag; it takes 6000 and 8000 bytes.


def to_wandb(study: Study) -> list[Path]:
    """Send each run to Weights & Biases, and one more that holds the tables; writes what is sent under wandb/.

    Raises:
        UserError: If wandb is not installed, or there is no table of these runs.
    """
    wandb, tables = _package("wandb"), study.tables()
    folder = study.exports / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    common = {
        "project": PROJECT,
        "group": study.name,
        "dir": str(folder),
        "resume": "allow",
        "reinit": "finish_previous",
    }
    for run_id, row in _rows(study):
        about = {"config": study.collected.records[run_id]["config"], "tags": [row["status"]], "job_type": "run"}
        run = wandb.init(id=_identity(study, row), name=run_id, **about, **common)
        run.summary.update(row)
        run.finish(exit_code=int(row["status"] != "ok"))
    run = wandb.init(id=_content(tables), name="tables", job_type="report", **common)
    artifact = wandb.Artifact(f"{study.name}-tables", type="tables")
    artifact.add_dir(str(tables))
    run.log_artifact(artifact)
    run.finish()
    return [folder]


def to_mlflow(study: Study) -> list[Path]:
    """Send each run to MLflow, into the experiment joulebench/STUDY, with the times that it had, and the tables.

    Returns:
        Nothing: what MLflow keeps is where its tracking URI says.

    Raises:
        UserError: If mlflow is not installed, or there is no table of these runs.
    """
    mlflow, tables = _package("mlflow"), study.tables()
    client = mlflow.MlflowClient()
    name = f"{PROJECT}/{study.name}"
    experiment = client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
    for run_id, row in _rows(study):
        identity = _identity(study, row)
        if _is_in_mlflow(client, experiment_id, identity):
            continue
        begin = int(datetime.fromisoformat(row["started_at"]).timestamp() * 1000)
        run = client.create_run(experiment_id, begin, _mlflow_tags(row), run_id).info.run_id
        _mlflow_values(mlflow, client, run, row, study.collected.records[run_id]["config"], begin)
        client.set_tag(run, IDENTITY, identity)  # Last: a run that was sent in part is sent again.
        status = "FINISHED" if row["status"] == "ok" else "FAILED"
        client.set_terminated(run, status, begin + int(row["duration_s"] * 1000))
    identity = _content(tables)
    if not _is_in_mlflow(client, experiment_id, identity):
        report = client.create_run(experiment_id, run_name="tables").info.run_id
        client.log_artifacts(report, str(tables), "tables")
        client.set_tag(report, IDENTITY, identity)
        client.set_terminated(report, "FINISHED")
    return []


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"export {name}: the package {name} is not installed", remedy="pip install 'joulebench[loggers]'"
        ) from error


def _rows(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each run's id and the columns that it has."""
    for _, row in study.collected.runs.iterrows():
        yield str(row["run_id"]), known(row)


def _identity(study: Study, row: Mapping[str, Any]) -> str:
    """One name for one execution of one run, the same whenever it is sent; 32 hexadecimal digits."""
    text = "\n".join([study.name, row["run_id"], row["started_at"]])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _content(folder: Path) -> str:
    """A name for what the files of a folder hold."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _is_in_mlflow(client: Any, experiment_id: str, identity: str) -> bool:
    return bool(client.search_runs([experiment_id], f"tags.`{IDENTITY}` = '{identity}'", max_results=1))


def _mlflow_tags(row: Mapping[str, Any]) -> dict[str, str]:
    """Columns that are text, status and reason among them."""
    return {f"joulebench.{name}": value[:MLFLOW_VALUE] for name, value in row.items() if isinstance(value, str)}


def _mlflow_values(
    mlflow: Any, client: Any, run: str, row: Mapping[str, Any], config: Mapping[str, Any], at_ms: int
) -> None:
    """Numbers as metrics at step 0, the configuration as parameters."""
    entities = mlflow.entities
    numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
    metrics = [entities.Metric(name, float(value), at_ms, 0) for name, value in numbers.items()]
    flat = pd.json_normalize(dict(config)).iloc[0].to_dict()
    params = [entities.Param(name, str(value)[:MLFLOW_VALUE]) for name, value in flat.items() if value is not None]
    client.log_batch(run, metrics=metrics)
    for start in range(0, len(params), MLFLOW_BATCH):
        client.log_batch(run, params=params[start : start + MLFLOW_BATCH])
