"""The two ways in which a request can be refused.

`UserError` is bad input: the command prints its text and leaves with exit status 2. `Unsupported` is a combination
that this device cannot run: inside a sweep it becomes a record with that status.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: one clear message for the person who typed it.

    Args:
        what: What is wrong, with the offending key and value.
        allowed: The values that would have been accepted, if they can be listed.
        remedy: What to do about it.
    """

    def __init__(self, what: str, *, allowed: Iterable[str] | None = None, remedy: str = "") -> None:
        self.what = what
        self.allowed = tuple(allowed or ())
        self.remedy = remedy
        super().__init__(self.render())

    def render(self) -> str:
        """The message as printed: what, allowed values, remedy; one line each."""
        lines = [self.what]
        if self.allowed:
            lines.append(f"  allowed: {', '.join(self.allowed)}")
        if self.remedy:
            lines.append(f"  remedy:  {self.remedy}")
        return "\n".join(lines)


class Unsupported(UserError):
    """This device cannot run what was asked for; `what` is the reason stored in the record."""


class TimeLimitExceeded(BaseException):
    """The cell has used its time; no `except Exception` of a library's keeps it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the cell did not end within time_limit_s={seconds:g}")


class Terminated(KeyboardInterrupt):
    """Somebody, such as a scheduler that needs the machine, has asked this process to end (SIGTERM)."""


def first_line(error: BaseException) -> str:
    """What an error says first; its type where it says nothing."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?` for the closest of `known`, or an empty string if none is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'?" if close else ""
