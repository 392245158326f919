"""What the sandbox lets through, and what it stops."""

import time

import pytest

from harness.applications.sandbox import run_program

MEMORY = 1_000_000_000


def verdict(program, seconds=5.0, memory=MEMORY):
    return run_program(program, seconds, memory)


@pytest.mark.parametrize(
    "program",
    [
        "assert 1 + 1 == 2",
        "import math, re, collections, itertools, functools, heapq, typing\nassert math.sqrt(4) == 2",
        "import decimal, fractions, textwrap\nassert fractions.Fraction(1, 2) == 0.5",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\nassert A(1).x == 1",
        "print('to nowhere')",
        "def f(n):\n    return 1 if n < 2 else n * f(n - 1)\nassert f(20) > 0",
    ],
)
def test_plain_programs_pass(program):
    assert verdict(program) == "passed"


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("assert 1 + 1 == 3", "failed"),
        ("this is no program", "failed"),
        ("raise SystemExit(0)", "failed"),
        ("import sys\nsys.exit(0)", "failed"),
        ("import os\nos._exit(0)", "failed"),
        ("import os\nos.write(1, b'passed')\nos._exit(0)", "failed"),
        ("def f():\n    return f()\nf()", "failed"),
        ("import socket\nsocket.socket()", "forbidden"),
        ("import urllib.request\nurllib.request.urlopen('http://localhost')", "forbidden"),
        ("import os\nos.fork()", "forbidden"),
        ("import os\nos.system('true')", "forbidden"),
        ("import subprocess\nsubprocess.run(['true'])", "forbidden"),
        ("import multiprocessing\nmultiprocessing.Process(target=print).start()", "forbidden"),
        ("open('file', 'w')", "forbidden"),
        ("import pathlib\npathlib.Path('file').write_text('a')", "forbidden"),
        ("import os\nos.open('file', os.O_CREAT | os.O_WRONLY)", "forbidden"),
        ("import os\nos.remove('/tmp/x')", "forbidden"),
        ("import shutil\nshutil.rmtree('/tmp/x')", "forbidden"),
        ("import ctypes\nctypes.CDLL(None).fork()", "forbidden"),
        ("import os, signal\nos.kill(1, signal.SIGTERM)", "forbidden"),
        ("try:\n    open('file', 'w')\nexcept BaseException:\n    pass", "forbidden"),
        ("x = [0] * 10 ** 10", "out of memory"),
    ],
)
def test_what_is_not_passed(program, expected):
    assert verdict(program) == expected


def test_a_loop_ends_in_time():
    started = time.monotonic()
    assert verdict("while True:\n    pass", seconds=1.0) == "timed out"
    assert verdict("import time\ntime.sleep(100)", seconds=1.0) == "timed out"
    assert time.monotonic() - started < 10


def test_a_program_sees_no_environment_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    monkeypatch.chdir(tmp_path)
    assert verdict("import os\nassert 'SECRET_TOKEN' not in os.environ") == "passed"
    assert list(tmp_path.iterdir()) == []


def test_odd_characters_do_not_matter():
    assert verdict("s = 'é\\u2028x'\nassert len(s) == 3") == "passed"
    assert verdict("s = '\udc80'") in ("passed", "failed")
