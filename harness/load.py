"""An option names the function that implements it; this finds the function when it is needed.

So the configuration can be read, checked and listed without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol


class HasImplementation(Protocol):
    """An option with an `implementation` such as `harness.models.gpt:build`."""

    @property
    def implementation(self) -> str:
        """Module and function, separated by a colon."""
        ...


def implementation(option: HasImplementation) -> Callable[..., Any]:
    """The function that an option names."""
    return _find(option.implementation)


def preflight(option: object) -> None:
    """Run an option's own check, if it names one, of what can be known without loading anything.

    Raises:
        UserError: If the option cannot work on this machine.
    """
    named = getattr(option, "preflight", None)
    if named is not None:
        _find(named)(option)


def _find(named: str) -> Callable[..., Any]:
    module, _, function = named.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found
