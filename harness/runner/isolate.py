"""Each cell in a process of its own, forked from a server that has the heavy imports done.

So a crash, or a kill for lack of memory, takes down one cell; and each cell's peak memory is its own.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from harness.config.compose import Cell
from harness.record.record import Record
from harness.runner.metering import Progress
from harness.runner.outcome import Started, identity, run_folder, write_run
from harness.runner.run import execute


class Worker:
    """Starts one process a cell, and waits for it without spinning."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["harness.runner.preload"])

    def run(self, cell: Cell, command: str, progress: Progress) -> Record:
        """Run a cell; a process that dies without a record leaves one that says how it died.

        Raises:
            KeyboardInterrupt: If the user stops the sweep; the cell's process is ended first.
        """
        started = Started.now()
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(sender, cell, command))
        process.start()
        sender.close()
        try:
            record = _listen(receiver, progress)
            process.join()
        except KeyboardInterrupt:
            process.join(timeout=10)
            process.kill()
            raise
        if record is None:
            reason = f"the process {describe_exit(process.exitcode)} without a record; see run.log"
            record = _lost(cell, command, reason, started)
        return record


def describe_exit(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"exited with status {code}"
    name = signal.Signals(-code).name
    hint = ", as the kernel does when memory runs out," if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _listen(receiver: Connection[Any, Any], progress: Progress) -> Record | None:
    """Pass progress on until the record comes, or the other end is gone."""
    while True:
        wait([receiver])
        try:
            message = receiver.recv()
        except EOFError:
            return None
        if isinstance(message, Record):
            return message
        progress(*message)


def _work(sender: Connection[Any, Any], cell: Cell, command: str) -> None:
    """Body of the child process."""
    last = [0.0]

    def report(phase: str, done: int, total: int | None) -> None:
        now = time.perf_counter()
        if now - last[0] > 0.2:  # The parent redraws no more often than this.
            last[0] = now
            sender.send((phase, done, total))

    with suppress(KeyboardInterrupt):
        sender.send(execute(cell, command, report, keep_bad_input=True))


def _lost(cell: Cell, command: str, reason: str, started: Started) -> Record:
    record = Record(
        status="failed",
        reason=reason,
        overrides=list(cell.overrides),
        command=command,
        **identity(cell.config),
        **started.as_fields,
    )
    folder = run_folder(cell.config)
    folder.mkdir(parents=True, exist_ok=True)
    write_run(folder, record, [])
    return record
