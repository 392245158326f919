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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.compose import Cell
from harness.errors import Terminated
from harness.record.record import Record, Status, read_record
from harness.runner.folders import run_folder
from harness.runner.limits import heed_termination
from harness.runner.progress import Report, Watch
from harness.sweep.cells import DONE
from harness.sweep.claim import claimed, remove_leftovers

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


Answer = Record | Busy | Finished


class Worker:
    """Starts one process a cell, and waits for it without spinning."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["harness.runner.preload"])
        self._since = datetime.now(UTC)

    def run(self, cell: Cell, command: str, watch: Watch) -> Answer:
        """Run a cell; a process that dies without a record leaves one that says how it died.

        Raises:
            KeyboardInterrupt: If the user, or a scheduler, stops the sweep; the cell's process is ended first.
        """
        from harness.runner.outcome import Started

        started, ooms = Started.now(), kernel_oom_kills()
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(sender, cell, command, self._since))
        process.start()
        sender.close()
        heard = _Listener(receiver, watch)
        try:
            answer = heard.answer(cell.config.time_limit_s)
            if answer is None and heard.overdue:
                process.kill()
            process.join()
        except KeyboardInterrupt as stopped:
            _stop(process, asked=not isinstance(stopped, Terminated))
            raise
        if isinstance(answer, Record | Busy | Finished):
            return answer
        status, reason = _cause(process.exitcode, heard, answer, kernel_oom_kills() > ooms, cell.config.time_limit_s)
        return _lost(cell, command, status, reason, started, heard.last)


class _Listener:
    """The parent's end of the pipe.

    Args:
        receiver: The pipe.
        watch: Told what the cell reports.
    """

    def __init__(self, receiver: Connection[Any, Any], watch: Watch) -> None:
        self._receiver = receiver
        self._watch = watch
        self.last: Report | None = None
        self.overdue = False

    def answer(self, time_limit_s: float | None) -> Answer | Died | None:
        """Pass reports on until the answer comes, the other end is gone, or the time is over."""
        deadline = None if time_limit_s is None else time.perf_counter() + time_limit_s + GRACE_S
        while True:
            left = None if deadline is None else max(0.0, deadline - time.perf_counter())
            if not wait([self._receiver], left):
                self.overdue = True
                return None
            try:
                message = self._receiver.recv()
            except (EOFError, OSError):
                return None
            if not isinstance(message, Report):
                found: Answer | Died = message
                return found
            self.last = message
            self._watch(message)


def _stop(process: BaseProcess, asked: bool) -> None:
    """End a cell's process: it was asked to by the terminal, or is now; killed if it does not."""
    if not asked and process.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    process.join(timeout=GRACE_S)
    process.kill()


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


def _cause(
    code: int | None, heard: _Listener, answer: Died | None, memory_ran_out: bool, time_limit_s: float | None
) -> tuple[Status, str]:
    """Status and reason of a process that left no record."""
    if heard.overdue:
        return "timeout", f"the cell did not end within time_limit_s={time_limit_s:g} and was killed"
    if answer is not None:
        return "failed", answer.reason
    reason = f"the process {describe_exit(code)} without a record; see run.log"
    if code == -signal.SIGKILL and memory_ran_out:
        return "oom", f"{reason}; the kernel killed a process because memory ran out"
    return "failed", reason


def _lost(cell: Cell, command: str, status: Status, reason: str, started: Any, last: Report | None) -> Record:
    """The record of a cell whose process is gone, written unless somebody else has the folder, or it cannot be."""
    from harness.runner.outcome import identity, write_run

    folder = run_folder(cell.config)
    with suppress(OSError):
        crash = crash_log(folder).read_text(encoding="utf-8").split("\n\nExtension modules:")[0].strip()
        crash_log(folder).unlink()
        reason = f"{reason}\n{crash}" if crash else reason
    summary = {} if last is None else {"run": {**last.spent, "until": f"the last report, in {last.phase}"}}
    record = Record(
        status=status,
        reason=reason,
        overrides=list(cell.overrides),
        command=command,
        summary=summary,
        **identity(cell.config),
        **started.as_fields,
    )
    try:
        with claimed(folder, patience_s=1.0) as free:
            if free:
                remove_leftovers(folder)
                write_run(folder, record, [])
    except OSError as error:
        print(f"{folder}: its record could not be written: {error}", file=sys.stderr)
    return record


def lost_elsewhere(cell: Cell, command: str, reason: str) -> Record:
    """The record of a cell whose job, on whatever machine, left none."""
    from harness.runner.outcome import Started

    return _lost(cell, command, "failed", reason, Started.now(), None)


def _work(sender: Connection[Any, Any], cell: Cell, command: str, since: datetime) -> None:
    """Body of the child process."""
    heed_termination()
    _die_with_parent()
    try:
        sender.send(_answer(cell, command, _throttled(sender), since))
    except KeyboardInterrupt as stopped:
        sys.exit(128 + (signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT))
    except BaseException as error:  # Such as a full disk: the parent says so in the record, if that can be written.
        sender.send(Died("".join(traceback.format_exception(error)[-6:])))


def _answer(cell: Cell, command: str, watch: Watch, since: datetime) -> Answer:
    """Run a cell unless another sweep does, or has done so since."""
    from harness.runner.run import execute

    folder = run_folder(cell.config)
    with claimed(folder) as free:
        if not free:
            return Busy()
        if finished_since(folder, since):
            return Finished()
        remove_leftovers(folder)
        with _telling_crashes(folder):
            return execute(cell, command, watch, keep_bad_input=True)


def finished_since(folder: Path, since: datetime) -> bool:
    """Whether a run's folder holds a finished record that was begun after a moment."""
    with suppress(ValueError, OSError):
        record = read_record(folder)
        # A record's moment has whole seconds.
        return (
            record is not None
            and record["status"] in DONE
            and datetime.fromisoformat(record["started_at"]) >= since.replace(microsecond=0)
        )
    return False


def crash_log(folder: Path) -> Path:
    """Where the interpreter writes where it was when a cell's process crashed, for the record."""
    return folder.with_name(f".{folder.name}.crash")


@contextmanager
def _telling_crashes(folder: Path) -> Iterator[None]:
    with crash_log(folder).open("w", encoding="utf-8") as file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            crash_log(folder).unlink(missing_ok=True)


def _throttled(sender: Connection[Any, Any]) -> Watch:
    last = [0.0]

    def report(told: Report) -> None:
        now = time.perf_counter()
        if now - last[0] > 0.2:  # The parent redraws no more often than this.
            last[0] = now
            sender.send(told)

    return report


def _die_with_parent() -> None:
    """A sweep that is killed takes its cell along, which would otherwise go on beside the next sweep's."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
