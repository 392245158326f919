"""Each cell in a process of its own, forked from a server that has the heavy imports done.

So a crash, a hang, or a kill for lack of memory takes down one cell; and each cell's peak memory is its own. The
process holds its run's folder while it writes there, and dies with the process that started it.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.compose import Cell
from harness.errors import Terminated, UserError
from harness.record.record import Record, Status, read_record, record_from
from harness.runner.folders import run_folder
from harness.runner.limits import heed_termination
from harness.runner.progress import Report, Watch
from harness.runner.turns import take_turns
from harness.sweep.cells import DONE
from harness.sweep.claim import claimed, clear, crash_log, remove_leftovers

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

# Seconds after a cell's time limit in which it may end by itself, and after a signal that asks it to.
GRACE_S = 10.0


@dataclass(frozen=True)
class Busy:
    """Another sweep runs this cell now."""


@dataclass(frozen=True)
class Finished:
    """Another sweep has finished this cell since this one looked."""


@dataclass(frozen=True)
class Died:
    """The process could not even make a record."""

    reason: str


@dataclass(frozen=True)
class Began:
    """The process lives."""


@dataclass(frozen=True)
class Yielded:
    """The cell waits for its next turn, between two repeats."""


Answer = Record | Busy | Finished
Seen = tuple[str, str, float] | None
"""Status, start and duration of a record."""


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
        process = self._context.Process(target=_work, args=(sender, cell, command, seen, turns))
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
        return _lost(self.cell, self._command, status, reason, self._started, self._last, self._seen)

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


def _lost(
    cell: Cell, command: str, status: Status, reason: str, started: Any, last: Report | None, seen: Seen
) -> Record:
    """The record of a cell whose process is gone: its own, if it had still written that, or one that says how it died.

    It is written unless somebody else has the folder, or it cannot be.
    """
    folder = run_folder(cell.config)
    try:
        with claimed(folder, patience_s=1.0) as free:
            if free and finished_since(folder, seen):
                return record_from(folder)
            crash = _take_crash(folder) if free else ""
            record = _made_up(cell, command, status, "\n".join(filter(None, (reason, crash))), started, last)
            if free:
                _write_lost(folder, record)
    except (OSError, UserError) as error:
        print(f"{folder}: its record could not be written: {error}", file=sys.stderr)
        record = _made_up(cell, command, status, reason, started, last)
    return record


def _take_crash(folder: Path) -> str:
    """Where the interpreter was when it crashed; empty if it did not."""
    with suppress(OSError):
        crash = crash_log(folder).read_text(encoding="utf-8").split("\n\nExtension modules:")[0].strip()
        crash_log(folder).unlink()
        return crash
    return ""


def _write_lost(folder: Path, record: Record) -> None:
    from harness.runner.outcome import write_run

    remove_leftovers(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_run(folder, record, [])


def _made_up(cell: Cell, command: str, status: Status, reason: str, started: Any, last: Report | None) -> Record:
    from harness.runner.outcome import identity

    summary = {} if last is None else {"run": {**last.spent, "until": f"the last report, in {last.phase}"}}
    return Record(
        status=status,
        reason=reason,
        overrides=list(cell.overrides),
        command=command,
        summary=summary,
        **identity(cell.config),
        **started.as_fields,
    )


def lost_elsewhere(cell: Cell, command: str, reason: str, seen: Seen, write: bool) -> Record:
    """The record of a cell whose job, on whatever machine, left none; not written where the job never began."""
    from harness.runner.outcome import Started

    if not write:
        return _made_up(cell, command, "failed", reason, Started.now(), None)
    return _lost(cell, command, "failed", reason, Started.now(), None, seen)


def _work(
    sender: Connection[Any, Any], cell: Cell, command: str, seen: Seen, turns: Connection[Any, Any] | None
) -> None:
    """Body of the child process."""
    heed_termination(once=True)
    _die_with_parent()
    try:
        sender.send(Began())
        if turns is not None:
            _take_turns(sender, turns)
        sender.send(_answer(cell, command, sender.send, seen))
    except KeyboardInterrupt as stopped:
        sys.exit(128 + (signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT))
    except BaseException as error:  # Such as a full disk: the parent says so in the record, if that can be written.
        sender.send(Died("".join(traceback.format_exception(error)[-6:])))


def _take_turns(sender: Connection[Any, Any], turns: Connection[Any, Any]) -> None:
    """Wait for the first turn, and between all repeats for further ones."""

    def wait_for_a_turn() -> None:
        try:
            turns.recv()
        except EOFError:
            raise Terminated from None  # The sweep is gone.

    def wait_for_the_next() -> None:
        sender.send(Yielded())
        wait_for_a_turn()

    wait_for_a_turn()
    take_turns(wait_for_the_next)


def _answer(cell: Cell, command: str, watch: Watch, seen: Seen) -> Answer:
    """Run a cell unless another sweep does, or has done so since it was found pending."""
    from harness.runner.run import execute

    folder = run_folder(cell.config)
    with claimed(folder) as free:
        if not free:
            return Busy()
        if finished_since(folder, seen):
            return Finished()
        clear(folder)
        with _telling_crashes(folder):
            return execute(cell, command, watch, keep_bad_input=True)


def identity_of(record: Mapping[str, Any] | None) -> Seen:
    """What tells a record from another of the same cell."""
    return None if record is None else (record["status"], record["started_at"], record["duration_s"])


def finished_since(folder: Path, seen: Seen) -> bool:
    """Whether a run's folder holds a finished record that is not the one that was seen."""
    with suppress(ValueError, OSError):
        record = read_record(folder)
        return record is not None and record["status"] in DONE and identity_of(record) != seen
    return False


@contextmanager
def _telling_crashes(folder: Path) -> Iterator[None]:
    with crash_log(folder).open("w", encoding="utf-8") as file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            crash_log(folder).unlink(missing_ok=True)


def _die_with_parent() -> None:
    """A sweep that is killed takes its cell along, which would otherwise go on beside the next sweep's."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
