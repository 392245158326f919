"""A cell belongs to one process at a time, on this machine or another that shares the folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.record.record import FILE_NAME
from harness.runner.folders import make_folder, remove_empty

POLL_S = 1.0


@contextmanager
def claimed(folder: Path, patience_s: float = 0.0) -> Iterator[bool]:
    """Hold a run's folder, if nobody else does.

    The lock is the kernel's (flock), so it is free again as soon as its holder is gone, however it went. Between
    machines it works where the file system passes locks on, as Linux's NFS does. The file goes with the lock.

    Args:
        folder: The run's; it need not be there. The study's is made, and removed again where nothing came into it.
        patience_s: Seconds to wait for it.

    Yields:
        Whether it is held.

    Raises:
        UserError: If the study's folder cannot be written.
    """
    made = make_folder(folder.parent)
    lock = FileLock(lock_file(folder))
    if not _acquired(lock, folder.parent, patience_s):
        yield False
        return
    try:
        yield True
    finally:
        # While it is held: whoever opened the file meanwhile finds it gone and opens a new one.
        lock_file(folder).unlink(missing_ok=True)
        lock.release()
        remove_empty(made)


def _acquired(lock: FileLock, study: Path, patience_s: float) -> bool:
    """Whether the lock could be had; other processes may take the empty study's folder away in between."""
    while True:
        try:
            lock.acquire(timeout=patience_s, poll_interval=0.05)
            return True
        except FileNotFoundError:
            make_folder(study)
        except Timeout:
            return False


def lock_file(folder: Path) -> Path:
    """The lock of a run's folder, beside it: a cell that never began leaves no folder."""
    return folder.with_name(f".{folder.name}.lock")


def wait_until_free(folder: Path) -> None:
    """Return when nobody holds a run's folder."""
    while lock_file(folder).exists():
        with claimed(folder) as free:
            if free:
                return
        time.sleep(POLL_S)


def crash_log(folder: Path) -> Path:
    """Where the interpreter writes where it was when a cell's process crashed, for the record."""
    return folder.with_name(f".{folder.name}.crash")


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed had not finished writing. The folder must be held."""
    for path in (*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp"), crash_log(folder)):
        _remove(path)


def clear(folder: Path) -> None:
    """Make room for a new run: no file of an earlier one stands beside its own. The folder must be held.

    A training's checkpoint stays, and what it needs to go on; the record goes first.
    """
    (folder / FILE_NAME).unlink(missing_ok=True)
    remove_leftovers(folder)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name != "checkpoint":
            _remove(path)


def tidy(study: Path) -> None:
    """Remove what processes that were killed left beside the runs of a study, where nobody holds them now."""
    for path in study.glob(".*.lock"):
        folder = path.with_name(path.name.removeprefix(".").removesuffix(".lock"))
        with claimed(folder) as free:
            if free:
                remove_leftovers(folder)
    for path in study.glob(".*.crash"):
        folder = path.with_name(path.name.removeprefix(".").removesuffix(".crash"))
        if not lock_file(folder).exists():
            path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
