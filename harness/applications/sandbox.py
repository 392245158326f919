"""Runs programs that nobody has read, in a process that can do little harm.

The child has its own empty folder, no environment, and limits of time, memory and file size. In it, an audit hook,
which no program can take out again, ends the process at the first attempt to reach the network, start a process, load
native code, or open anything but files to read. Where the system allows it, the child has a network of its own with
nothing in it. This stops accidents and common mischief; it is no wall against an attacker who knows it. For that, run
the whole harness in a container.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile

# Verdicts besides "passed".
FAILED, FORBIDDEN, TIMED_OUT, OUT_OF_MEMORY = "failed", "forbidden", "timed out", "out of memory"
_CODES = {73: FORBIDDEN, 74: OUT_OF_MEMORY}

_GUARD = """
import ctypes, os, resource, sys
token, seconds, memory = sys.argv[1:]
del sys.argv[1:], sys.orig_argv[1:]
limit = max(1, int(float(seconds) + 0.5))
resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
resource.setrlimit(resource.RLIMIT_AS, (int(memory),) * 2)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)  # users and network
except (OSError, AttributeError):
    pass
program = sys.stdin.read()
output = os.dup(1)
null = os.open(os.devnull, os.O_RDWR)
for descriptor in (0, 1, 2):
    os.dup2(null, descriptor)
import bisect, collections, copy, datetime, functools, hashlib, heapq, itertools, math, operator, random, re, statistics
import string, typing
FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.kill",
             "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
             "os.chown", "os.putenv", "os.chdir", "os.listdir", "os.scandir", "shutil.", "ctypes.", "mmap.", "signal.",
             "pty.", "ftplib.", "http.", "urllib.", "smtplib.", "webbrowser.", "sqlite3.", "syslog.", "tempfile.",
             "code.__new__", "function.__new__", "gc.")
READ = {None, "r", "rb", "rt"}
def look(event, arguments, leave=os._exit, flags=os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
    if event.startswith(FORBIDDEN):
        leave(73)
    if event == "open" and (arguments[1] not in READ or (arguments[2] or 0) & flags):
        leave(73)
sys.addaudithook(look)
try:
    exec(compile(program, "program", "exec"), {"__name__": "program"})
except MemoryError:
    os._exit(74)
except BaseException:
    os._exit(1)
os.write(output, token.encode())
os._exit(0)
"""


def run_program(program: str, seconds: float, memory_bytes: int) -> str:
    """Run a Python program; "passed" if it came to its end without an exception.

    Args:
        program: Its source.
        seconds: Limit of time.
        memory_bytes: Limit of address space.

    Returns:
        passed, failed, forbidden, timed out or out of memory.
    """
    token = secrets.token_hex(16)  # A program that leaves early cannot say that it came to its end.
    command = [sys.executable, "-I", "-B", "-c", _GUARD, token, str(seconds), str(memory_bytes)]
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            output, _ = child.communicate(program.encode("utf-8", "replace"), timeout=seconds + 1)
        except subprocess.TimeoutExpired:
            return TIMED_OUT
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if child.returncode == 0 and output == token.encode():
        return "passed"
    if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return TIMED_OUT
    return _CODES.get(child.returncode, FAILED)
