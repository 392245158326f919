"""What a run left beside its record, read when it is asked for: a study may have ten thousand runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow.parquet import ParquetFile

from harness.record.migrate import migrated
from harness.record.record import FILE_NAME

CURVE, WINDOWS, POWER, REQUESTS, LIKELIHOODS = "curve", "windows", "power", "requests", "likelihoods"


@dataclass(frozen=True)
class RunFiles:
    """Raw figures of runs.

    Attributes:
        folders: The folder of each run, by run id.
        frames: Frames that are at hand already, by run id and name: for a notebook that has no folder.
    """

    folders: Mapping[str, Path] = field(default_factory=dict)
    frames: Mapping[tuple[str, str], pd.DataFrame] = field(default_factory=dict)

    def has(self, run_id: str, name: str) -> bool:
        """Whether a run has a file, such as `curve`."""
        return (run_id, name) in self.frames or (run_id in self.folders and self._path(run_id, name).is_file())

    def columns(self, run_id: str, name: str) -> set[str]:
        """The columns of a run's file; none where it has no such file."""
        if (run_id, name) in self.frames:
            return set(self.frames[run_id, name].columns)
        return set(ParquetFile(self._path(run_id, name)).schema_arrow.names) if self.has(run_id, name) else set()

    def read(self, run_id: str, name: str, columns: list[str] | None = None) -> pd.DataFrame | None:
        """A run's file as a data frame; None where it has none.

        Args:
            run_id: The run.
            name: The file, without its ending.
            columns: The columns that are needed; all by default.
        """
        if (run_id, name) in self.frames:
            return self.frames[run_id, name]
        if not self.has(run_id, name):
            return None
        # Half of pandas' own time, which counts where ten thousand files are read.
        frame: pd.DataFrame = ParquetFile(self._path(run_id, name)).read(columns).to_pandas()
        return frame

    def _path(self, run_id: str, name: str) -> Path:
        return self.folders[run_id] / f"{name}.parquet"


class Records(Mapping[str, dict[str, Any]]):
    """The records of runs, by run id; each is read again when it is asked for."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def __getitem__(self, run_id: str) -> dict[str, Any]:
        return migrated(json.loads((self._folders[run_id] / FILE_NAME).read_text(encoding="utf-8")))

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)
