"""Each cell in a process of its own, forked from a server that has the heavy imports done.

So a crash, a hang, or a kill for lack of memory takes down one cell; and each cell's peak memory is its own. The
process holds its run's folder while it writes there, and dies with the process that started it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.compose import Cell
from harness.errors import Terminated
from harness.record.record import Record, Status
from harness.runner.progress import Report, Watch
from harness.sweep.answers import Answer, Began, Busy, Died, Finished, Seen, Yielded
from harness.sweep.child import work
from harness.sweep.lost import lost

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

# Seconds after a cell's time limit in which it may end by itself, and after a signal that asks it to.
GRACE_S = 10.0


class Worker:
    """Starts one process a cell, and waits for it without spinning."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["harness.runner.preload"])

    def run(self, cell: Cell, command: str, watch: Watch, seen: Seen = None) -> Answer:
        """Run a cell; a process that dies without a record leaves one that says how it died.

        Args:
            cell: What to run.
            command: The command line, for the record.
            watch: Told how far the cell has come.
            seen: The record that it had when it was found pending.

        Raises:
            KeyboardInterrupt: If the user, or a scheduler, stops the sweep; the cell's process is ended first.
        """
        answer = self.start(cell, command, watch, seen).go_on()
        assert not isinstance(answer, Yielded), "it takes no turns"
        return answer

    def start(
        self, cell: Cell, command: str, watch: Watch, seen: Seen = None, takes_turns: bool = False
    ) -> RunningCell:
        """Start a cell's process; where cells take turns, it waits for its first one."""
        receiver, sender = self._context.Pipe(duplex=False)
        turns, giver = self._context.Pipe(duplex=False) if takes_turns else (None, None)
        process = self._context.Process(target=work, args=(sender, cell, command, seen, turns))
        running = RunningCell(process, receiver, giver, cell, command, watch, seen)
        for theirs in (sender, turns):
            if theirs is not None:
                theirs.close()
        return running


class RunningCell:
    """A cell's process, seen from its parent.

    Args:
        process: It is started.
        receiver: What it tells.
        giver: Gives it turns, where it takes them.
        cell, command: What it runs.
        watch: Told what it reports.
        seen: The record that the cell had before.
    """

    def __init__(
        self,
        process: BaseProcess,
        receiver: Connection[Any, Any],
        giver: Connection[Any, Any] | None,
        cell: Cell,
        command: str,
        watch: Watch,
        seen: Seen,
    ) -> None:
        from harness.runner.outcome import Started

        self._started, self._ooms = Started.now(), kernel_oom_kills()
        self._process, self._receiver, self._giver = process, receiver, giver
        self.cell, self._command, self._watch, self._seen = cell, command, watch, seen
        self._last: Report | None = None
        self._began: float | None = None
        self._overdue = False
        process.start()

    def go_on(self) -> Answer | Yielded:
        """Give it a turn, where it takes them, and listen until it has an answer, yields, or is gone.

        Raises:
            KeyboardInterrupt: If the user, or a scheduler, stops the sweep; its process is ended first.
        """
        try:
            if self._giver is not None:
                with suppress(OSError):  # It is gone: what it told before is still to be read.
                    self._giver.send(None)
            answer = self._listen()
            if isinstance(answer, Yielded):
                return answer
            if answer is None and self._overdue:
                self._process.kill()
            self._process.join(GRACE_S)  # It may hang at its exit.
            self._process.kill()
            self._process.join()
        except KeyboardInterrupt as stopped:
            self.stop(asked=not isinstance(stopped, Terminated))
            raise
        if isinstance(answer, Record | Busy | Finished):
            return answer
        status, reason = self._cause(answer)
        return lost(self.cell, self._command, status, reason, self._started, self._last, self._seen)

    def _listen(self) -> Answer | Died | Yielded | None:
        """Pass reports on until something else comes, the other end is gone, or the time is over."""
        limit_s = self.cell.config.time_limit_s
        while True:
            # The time counts from the first sign of life: before, the server may still import.
            deadline = None if limit_s is None or self._began is None else self._began + limit_s + GRACE_S
            left = None if deadline is None else max(0.0, deadline - time.perf_counter())
            ready = wait([self._receiver, self._process.sentinel], left)
            if not ready:
                self._overdue = True
                return None
            try:
                if self._receiver not in ready and not self._receiver.poll():
                    return None  # It is gone, although somebody may still hold its end of the pipe.
                message = self._receiver.recv()
            except (EOFError, OSError):
                return None
            self._began = self._began or time.perf_counter()
            if isinstance(message, Began):
                continue
            if not isinstance(message, Report):
                found: Answer | Died | Yielded = message
                return found
            self._last = message
            self._watch(message)

    def _cause(self, answer: Died | None) -> tuple[Status, str]:
        """Status and reason of a process that left no record."""
        code = self._process.exitcode
        if self._overdue:
            limit = self.cell.config.time_limit_s
            return "timeout", f"the cell did not end within time_limit_s={limit:g} and was killed"
        if answer is not None:
            return "failed", answer.reason
        reason = f"the process {describe_exit(code)} without a record; see run.log"
        if code == -signal.SIGKILL and kernel_oom_kills() > self._ooms:
            return "oom", f"{reason}; the kernel killed a process because memory ran out"
        return "failed", reason

    def stop(self, asked: bool) -> None:
        """End the process: it may have been asked to by the terminal; if not, it is now; and killed if it does not."""
        self._process.join(timeout=1.0 if asked else 0.0)
        if self._process.is_alive() and self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)
        self._process.join(timeout=GRACE_S)
        self._process.kill()
        self._process.join()


def describe_exit(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"exited with status {code}"
    return f"was killed by {signal.Signals(-code).name}"


def kernel_oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory since it started; 0 where it does not say."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
