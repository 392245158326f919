"""Fixtures: small text, small cells, and a cache that the whole session shares."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from tests.simulate import SimulatedNvml, SimulatedRapl

ANIMALS = ["cat", "dog", "fox", "owl", "hen", "crow", "goat", "mole", "hare", "newt", "toad", "swan"]
VERBS = ["saw", "met", "fed", "heard", "drew", "sought", "chased", "passed", "found", "liked"]
PLACES = [
    "in the town",
    "by the river",
    "on the hill",
    "at noon",
    "near the mill",
    "after the rain",
    "before dawn",
    "under the oak",
]


def write_text(folder: Path) -> Path:
    """200 different short documents."""
    draw = random.Random(0).choice
    sentences = [f"The {draw(ANIMALS)} {draw(VERBS)} the {draw(ANIMALS)} {draw(PLACES)}." for _ in range(600)]
    documents = [" ".join(sentences[start : start + 3]) for start in range(0, 600, 3)]
    path = folder / "notes.txt"
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path


def tiny_cell(text: Path) -> list[str]:
    """Overrides of a cell that takes a second: a one-layer model, bytes, short windows."""
    return [
        "model=gpt-nano",
        "model.n_layer=1",
        "model.context_length=32",
        "tokenizer@model.tokenizer=byte",
        "data=file",
        f"data.path={text}",
        "data.split.test=0.2",
        "task.scoring.max_bytes=500",
        "batch_size=4",
        "energy=modelled",
        "hardware.threads=1",
        "protocol.window_s=0.05",
        "protocol.warmup_s=0.0",
        "protocol.max_repeats=3",
        "protocol.target_half_width=10.0",
    ]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Several threads wait for each other at every step of a small network, the longer the busier the machine is."""
    torch.set_num_threads(1)


@pytest.fixture
def text_file(tmp_path) -> Path:
    return write_text(tmp_path)


@pytest.fixture
def tiny(tmp_path, text_file, cache_dir, monkeypatch) -> list[str]:
    monkeypatch.setenv("JOULEBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("JOULEBENCH_CACHE", str(cache_dir))
    return tiny_cell(text_file)


@pytest.fixture
def train_tiny(tiny) -> list[str]:
    """As `tiny`, trained for some steps; the windows are short, so that a fast machine fills some with these steps."""
    kept = [o for o in tiny if not o.startswith("protocol.window_s")]
    return [*kept, "task=train", "task.steps=40", "task.optimizer.warmup_steps=2", "protocol.window_s=0.01"]


@pytest.fixture
def rapl(tmp_path, monkeypatch) -> SimulatedRapl:
    """A simulated RAPL tree that Zeus finds."""
    return SimulatedRapl.install(tmp_path / "powercap", monkeypatch)


@pytest.fixture
def nvml(monkeypatch) -> SimulatedNvml:
    """Two simulated GPUs that Zeus finds."""
    return SimulatedNvml.install(monkeypatch, gpus=2)
