"""What makes a cell done: its fingerprint, its status, its environment, and what the user asks for."""

import json
import os

import pytest

from harness.__main__ import main
from harness.config.compose import compose_cell
from harness.config.fingerprint import fingerprint
from harness.errors import UserError
from harness.record.environment import comparable, current_environment
from harness.runner.folders import run_folder
from harness.runner.run import execute
from harness.sweep.cells import environment_notes, look_up
from tests.conftest import tiny_cell, write_text


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def tiny(text_file, tmp_path_factory, cache_dir):
    """A cell that was run once, for all tests here."""
    folder = tmp_path_factory.mktemp("finished")
    overrides = [*tiny_cell(text_file), f"paths.results_dir={folder}/results", f"paths.cache_dir={cache_dir}"]
    execute(compose_cell(overrides), "command", lambda *_: None)
    return overrides


@pytest.fixture
def finished(tiny):
    """A function that changes the finished cell's record, for one test."""
    path = run_folder(compose_cell(tiny).config) / "record.json"
    before = path.read_bytes()
    yield lambda **values: path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    path.write_bytes(before)


def state(overrides):
    [found] = look_up([compose_cell(overrides)])
    return found.state, found.why


def test_a_cell_without_a_record_is_pending_and_with_one_is_done(tiny, finished):
    assert state([*tiny, "seed=1"]) == ("pending", "not run yet")
    assert state(tiny) == ("done", "ok")


@pytest.mark.parametrize(
    "override",
    ["logger=csv", "time_limit_s=3", "memory_limit_bytes=5000000", "isolation=inline", "order=shuffled", "retry=none"],
)
def test_what_cannot_change_a_result_runs_nothing_again(tiny, finished, override):
    assert state([*tiny, override]) == ("done", "ok")


@pytest.mark.parametrize(
    "override",
    ["batch_size=2", "seed=3", "precision=bf16", "task.scoring.max_bytes=400", "protocol.window_s=0.06", "energy=off"],
)
def test_what_can_change_a_result_is_another_cell(tiny, finished, override):
    assert fingerprint(compose_cell([*tiny, override]).config) != fingerprint(compose_cell(tiny).config)
    assert state([*tiny, override])[0] == "pending"


@pytest.mark.parametrize("status", ["failed", "oom", "timeout", "invalid"])
def test_what_failed_is_tried_again_unless_it_is_to_be_left(tiny, finished, status):
    finished(status=status)
    assert state(tiny) == ("pending", f"{status} before")
    assert state([*tiny, "retry=none"]) == ("left", f"{status} before")


def test_rerun_all_runs_finished_cells_again(tiny, finished):
    assert state([*tiny, "rerun=all"]) == ("pending", "rerun=all")


def test_another_cells_record_in_the_folder_is_none_of_this_cell(tiny, finished):
    finished(fingerprint="another")
    assert state(tiny)[0] == "pending"


def test_a_text_that_was_changed_since_makes_its_cells_pending(tiny, text_file):
    before = text_file.stat()
    os.utime(text_file, (4e9, 4e9))
    assert state(tiny) == ("pending", "its text or model was changed since")
    os.utime(text_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert state(tiny) == ("done", "ok")


def test_an_environment_that_changed_is_named_and_the_user_chooses(tiny, finished, tmp_path):
    [before] = look_up([compose_cell(tiny)])
    environment = json.loads(json.dumps(before.record["environment"]))
    environment["packages"]["torch"] = "1.0"
    finished(environment=environment)
    [found] = look_up([compose_cell(tiny)])
    assert found.state == "done"
    now = current_environment()["packages"]["torch"]
    assert dict(found.changed) == {"packages.torch": ("1.0", now)}
    assert environment_notes([found]) == [
        f"1 finished cells were run in another environment: packages.torch was 1.0, is {now}",
        "they are kept; environment=rerun runs them again",
    ]
    assert state([*tiny, "environment=rerun"]) == ("pending", "run in another environment before")
    finished(status="unsupported")  # Here it may be supported.
    assert state(tiny)[0] == "pending"


def test_what_is_compared_is_the_same_with_and_without_torch(tiny, finished):
    [found] = look_up([compose_cell(tiny)])
    assert comparable(found.record["environment"]) == comparable(current_environment())


def test_a_record_that_cannot_be_read_is_named(tiny, finished):
    (run_folder(compose_cell(tiny).config) / "record.json").write_text("{")
    with pytest.raises(UserError, match="its record cannot be read"):
        look_up([compose_cell(tiny)])


def test_left_cells_are_counted_and_the_command_that_reruns_them_is_printed(tiny, finished, capsys):
    finished(status="oom")
    assert main(["sweep", *tiny, "retry=none"]) == 1
    out = capsys.readouterr().out
    assert "1 cells: 0 done, 0 to run, 1 failed before and left (retry=none)" in out
    assert "to run them again: joulebench sweep model=gpt-nano" in out
    assert "retry=none" not in out.splitlines()[-2]
