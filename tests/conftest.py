"""Fixtures: small text, small cells, and a cache that the whole session shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulate import SimulatedNvml, SimulatedRapl

SENTENCES = (
    "The cat sat on the mat.",
    "A dog barked at the moon.",
    "Rain fell on the quiet town.",
    "She read a book by the fire.",
    "They walked along the river.",
)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def text_file(tmp_path) -> Path:
    """200 different short documents."""
    documents = [f"{SENTENCES[i % 5]} {SENTENCES[(i // 5) % 5]} Number {i} of many." for i in range(200)]
    path = tmp_path / "notes.txt"
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path


@pytest.fixture
def tiny(tmp_path, text_file, cache_dir, monkeypatch) -> list[str]:
    """Overrides of a cell that takes a second: a one-layer model, bytes, short windows."""
    monkeypatch.setenv("JOULEBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("JOULEBENCH_CACHE", str(cache_dir))
    return [
        "model=gpt-nano",
        "model.n_layer=1",
        "model.context_length=32",
        "tokenizer@model.tokenizer=byte",
        "data=file",
        f"data.path={text_file}",
        "data.split.test=0.2",
        "task.scoring.max_bytes=500",
        "batch_size=4",
        "energy=modelled",
        "protocol.window_s=0.05",
        "protocol.warmup_s=0.0",
        "protocol.max_repeats=3",
        "protocol.target_half_width=10.0",
    ]


@pytest.fixture
def train_tiny(tiny) -> list[str]:
    """As `tiny`, trained for some steps."""
    return [*tiny, "task=train", "task.steps=40", "task.optimizer.warmup_steps=2"]


@pytest.fixture
def rapl(tmp_path, monkeypatch) -> SimulatedRapl:
    """A simulated RAPL tree that Zeus finds."""
    return SimulatedRapl.install(tmp_path / "powercap", monkeypatch)


@pytest.fixture
def nvml(monkeypatch) -> SimulatedNvml:
    """Two simulated GPUs that Zeus finds."""
    return SimulatedNvml.install(monkeypatch, gpus=2)
