"""Results of several machines in one folder."""

import json

import pytest

from harness.__main__ import main
from harness.errors import UserError
from harness.report.collect import collect
from harness.sweep.machine import machine_of
from harness.sweep.merge import merge
from tests.report.test_report import record as a_record


@pytest.fixture
def run(tmp_path):
    """Write a run of a study into the results folder of a machine."""

    def write(machine, name, cpu="Xeon", **values):
        made = a_record(name)
        environment = {"cpu": cpu, "logical_cpus": 2, "memory_bytes": 10, "gpus": []}
        stored = {
            **made,
            "study": "s",
            "run_id": name,
            "environment": environment,
            "started_at": "2026-01-01",
            **values,
        }
        folder = tmp_path / machine / "s" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").write_text(json.dumps(stored))
        (folder / "windows.parquet").write_bytes(b"x")
        return folder

    return write


def merged(tmp_path, *sources):
    return {(one.what, one.target.name) for one in merge([tmp_path / s for s in sources], tmp_path / "all")}


def test_runs_of_two_machines_stand_side_by_side(run, tmp_path):
    run("a", "r1"), run("a", "r2"), run("b", "r1", cpu="EPYC")
    other = machine_of({"cpu": "EPYC", "logical_cpus": 2, "memory_bytes": 10, "gpus": []})
    assert other.startswith("epyc-")
    assert merged(tmp_path, "a", "b") == {("added", "r1"), ("added", "r2"), ("added", f"r1@{other}")}
    assert (tmp_path / "all" / "s" / "r1" / "windows.parquet").read_bytes() == b"x"
    assert merged(tmp_path, "a", "b") == {("same", "r1"), ("same", "r2"), ("same", f"r1@{other}")}
    runs = collect(tmp_path / "all" / "s").runs
    assert set(runs["run_id"]) == {"r1", "r2", f"r1@{other}"}


def test_of_two_runs_on_one_machine_the_finished_one_wins_and_then_the_newer(run, tmp_path):
    run("a", "r", status="failed", started_at="2026-01-03"), run("b", "r", started_at="2026-01-01")
    run("c", "r", started_at="2026-01-02"), run("d", "r", status="oom", started_at="2026-01-09")
    assert merged(tmp_path, "a") == {("added", "r")}
    assert merged(tmp_path, "b") == {("replaced", "r")}
    assert merged(tmp_path, "c") == {("replaced", "r")}
    assert merged(tmp_path, "d") == {("kept", "r")}
    assert json.loads((tmp_path / "all/s/r/record.json").read_text())["started_at"] == "2026-01-02"
    assert not list((tmp_path / "all" / "s").glob(".*"))


def test_a_studys_folder_alone_and_the_command(run, tmp_path, capsys):
    run("a", "r1")
    assert main(["merge", str(tmp_path / "a" / "s"), str(tmp_path / "all")]) == 0
    assert "1 runs: 1 added" in capsys.readouterr().out
    assert (tmp_path / "all" / "s" / "r1" / "record.json").is_file()


def test_a_source_without_runs_is_named(tmp_path, capsys):
    with pytest.raises(UserError, match="no run in it"):
        list(merge([tmp_path], tmp_path / "all"))
    assert main(["merge", str(tmp_path), str(tmp_path / "all")]) == 2
