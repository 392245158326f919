"""A cell belongs to one process at a time, on this machine or another that shares the folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

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
    try:
        lock.acquire(timeout=patience_s, poll_interval=0.05)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # While it is held: whoever opened the file meanwhile finds it gone and opens a new one.
        lock_file(folder).unlink(missing_ok=True)
        lock.release()
        remove_empty(made)


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


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed had not finished writing. The folder must be held."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)
    for path in folder.glob("*/.*.tmp"):
        path.unlink(missing_ok=True)
