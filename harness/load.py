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
    found: Callable[..., Any] = find(option.implementation)
    return found


def preflight(option: object) -> None:
    """Run an option's own check, if it names one, of what can be known without loading anything.

    Raises:
        UserError: If the option cannot work on this machine.
    """
    named = getattr(option, "preflight", None)
    if named is not None:
        find(named)(option)


def find(named: str) -> Any:
    """What stands behind a name such as `harness.models.gpt:build`."""
    module, _, attribute = named.partition(":")
    return getattr(import_module(module), attribute)
