"""What a cell's own process does: it claims the run's folder, runs the cell, and dies with its parent."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from harness.config.compose import Cell
from harness.errors import Terminated
from harness.runner.folders import run_folder
from harness.runner.limits import heed_termination
from harness.runner.progress import Watch
from harness.runner.turns import take_turns
from harness.sweep.answers import Answer, Began, Busy, Died, Finished, Seen, Yielded, finished_since
from harness.sweep.claim import claimed, clear, crash_log


def work(
    sender: Connection[Any, Any], cell: Cell, command: str, seen: Seen, turns: Connection[Any, Any] | None
) -> None:
    """Body of the child process."""
    heed_termination(once=True)
    _die_with_parent()
    try:
        sender.send(Began())
        if turns is not None:
            _take_turns(sender, turns)
        sender.send(run_claimed(cell, command, sender.send, seen, crashes=True))
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


def run_claimed(cell: Cell, command: str, watch: Watch, seen: Seen, crashes: bool) -> Answer:
    """Run a cell in this process, unless another sweep does, or has done so since it was found pending.

    Args:
        cell: What to run.
        command: The command line, for the record.
        watch: Told how far the cell has come.
        seen: The record that it had when it was found pending.
        crashes: Whether the interpreter is to write where it was if it crashes.
    """
    from harness.runner.run import execute

    folder = run_folder(cell.config)
    with claimed(folder) as free:
        if not free:
            return Busy()
        if finished_since(folder, seen):
            return Finished()
        clear(folder)
        with _telling_crashes(folder) if crashes else nullcontext():
            return execute(cell, command, watch, keep_bad_input=True)


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
