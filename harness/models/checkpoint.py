"""Models that a run of this program trained and kept (task.save_checkpoint=true)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model

from harness.config.compose import load_model_config
from harness.config.model import CheckpointModelConfig, SavedTokenizerConfig
from harness.data.cache import atomic_path
from harness.data.corpus import TextSource
from harness.errors import UserError, first_line
from harness.load import implementation
from harness.models.huggingface import file_hash, with_provenance
from harness.models.loaded import LoadedModel
from harness.record.record import read_record

WEIGHTS = Path("checkpoint", "model.safetensors")


def save_checkpoint(model: LoadedModel, folder: Path) -> None:
    """Write the weights, and the tokenizer where it was learnt, into a run's folder."""
    (folder / WEIGHTS).parent.mkdir(exist_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary:
        save_model(model.network, str(temporary))
    if model.tokenizer.file is not None:
        name, content = model.tokenizer.file
        with atomic_path(folder / WEIGHTS.with_name(name)) as temporary:
            temporary.write_bytes(content)


def load_checkpoint(
    config: CheckpointModelConfig, source: TextSource, cache_dir: Path, dtype: torch.dtype
) -> LoadedModel:
    """The trained model of a run.

    Raises:
        UserError: If there is no such run, or it kept no weights.
    """
    return load_trained(config.path, "model.path", source, cache_dir, dtype).model


@dataclass(frozen=True)
class TrainedModel:
    """The model of a run, and what the run spent on it.

    Attributes:
        model: With the trained weights.
        run_id: The run.
        training_energy_j: Energy of its optimiser steps; None where it had no source of energy.
    """

    model: LoadedModel
    run_id: str
    training_energy_j: float | None


def load_trained(path: str, key: str, source: TextSource, cache_dir: Path, dtype: torch.dtype) -> TrainedModel:
    """The trained model of the run that `path` matches; `key` is what it was given as.

    Raises:
        UserError: If there is no such run, or it kept no weights.
    """
    folder = run_with_checkpoint(path, key)
    record = _record(folder, key)
    config = load_model_config(record["config"]["model"])
    for file in (folder / WEIGHTS).parent.glob("tokenizer.*"):
        saved: Any = SavedTokenizerConfig(kind="saved", path=str(file))
        config = replace(config, **{"tokenizer": saved})
    model: LoadedModel = implementation(config)(config, source, cache_dir, dtype)
    try:
        load_model(model.network, str(folder / WEIGHTS))
    except RuntimeError as error:
        raise UserError(
            f"{key}={path}: the kept weights do not fit the model of {record['run_id']}: {first_line(error)}",
            remedy="train it again: its files come from different runs or versions",
        ) from error
    joules = record["summary"].get("training", {}).get("total_energy_j")
    model = with_provenance(
        model,
        source=f"checkpoint of run {record['run_id']}",
        weights_sha256=file_hash([folder / WEIGHTS]),
        training_energy="unknown" if joules is None else f"{joules:.6g} J",
    )
    return TrainedModel(model, record["run_id"], joules)


def run_with_checkpoint(path: str, key: str) -> Path:
    """The one folder with kept weights that a path or a pattern matches.

    Raises:
        UserError: If there is none, or more than one.
    """
    given = Path(path).expanduser()
    folders = sorted(Path(given.anchor or ".").glob(str(given.relative_to(given.anchor or "."))))
    kept = [folder for folder in folders if (folder / WEIGHTS).is_file()]
    if len(kept) == 1:
        return kept[0]
    what = f"{len(kept)} runs with a checkpoint match" if kept else "no run with a checkpoint there"
    raise UserError(
        f"{key}={path}: {what}",
        allowed=[str(folder) for folder in kept],
        remedy="give the folder of one run that was made with task.save_checkpoint=true",
    )


def _record(folder: Path, key: str) -> dict[str, Any]:
    try:
        record = read_record(folder)
    except ValueError as error:
        raise UserError(f"{key}={folder}: {error}") from error
    if record is None:
        raise UserError(f"{key}={folder}: the folder has no record: its run has not ended")
    return record
