"""A cell belongs to one process at a time."""

import multiprocessing
import os
import signal
import threading
import time

from harness.sweep.claim import claimed, lock_file, wait_until_free


def hold(folder, ready):
    with claimed(folder) as held:
        assert held
        ready.set()
        time.sleep(60)


def holder(folder):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(folder, ready))
    process.start()
    assert ready.wait(10)
    return process


def test_only_one_holds_a_folder_and_a_dead_one_holds_none(tmp_path):
    folder = tmp_path / "results" / "study" / "run"
    process = holder(folder)
    with claimed(folder) as held:
        assert not held
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with claimed(folder) as held:
        assert held
    assert not lock_file(folder).exists()


def test_nothing_is_left_where_nothing_came_into_it(tmp_path):
    with claimed(tmp_path / "results" / "study" / "run"):
        pass
    assert not (tmp_path / "results").exists()


def test_waiting_ends_when_the_holder_is_gone(tmp_path):
    folder = tmp_path / "study" / "run"
    process = holder(folder)
    waiter = threading.Thread(target=wait_until_free, args=(folder,))
    waiter.start()
    time.sleep(0.3)
    assert waiter.is_alive()
    process.kill()
    process.join()
    waiter.join(timeout=10)
    assert not waiter.is_alive()


def test_many_at_once_take_turns(tmp_path):
    """Each adds 1 to a number in a file without any other care; none is lost."""
    folder, number = tmp_path / "study" / "run", tmp_path / "number"
    number.write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add, args=(folder, number)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert number.read_text() == str(8 * 25)


def add(folder, number):
    done = 0
    while done < 25:
        with claimed(folder) as held:
            if held:
                number.write_text(str(int(number.read_text()) + 1))
                done += 1
