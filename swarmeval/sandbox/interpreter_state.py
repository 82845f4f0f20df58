"""Detects changes that tests made to their interpreter and that could affect the next tests."""

import decimal
import os
import random
import sys
import warnings
from pathlib import Path
from typing import Any


class InterpreterState:
    """A snapshot of the attributes of all modules and of interpreter settings. Contents of objects are not compared."""

    def __init__(self) -> None:
        self._modules = dict(sys.modules)
        self._attributes = {name: dict(_attributes(module)) for name, module in self._modules.items()}
        self._settings = _settings()

    def is_unchanged(self) -> bool:
        """Whether the interpreter is still in this state."""
        return (
            _are_same(self._modules, sys.modules)
            and self._settings == _settings()
            and all(_are_same(self._attributes[name], _attributes(module)) for name, module in self._modules.items())
        )


def _attributes(module: object) -> dict[str, Any]:
    return getattr(module, "__dict__", {})  # sys.modules maps blocked imports to None


def _are_same(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether both map the same names to the same objects."""
    return before.keys() == now.keys() and all(value is now[name] for name, value in before.items())


def _settings() -> tuple[object, ...]:
    context = decimal.getcontext()
    return (
        sys.getrecursionlimit(), tuple(sys.path), random.getstate(), dict(os.environ), Path.cwd(),
        tuple(warnings.filters), context.prec, context.rounding, tuple(context.traps.values()),
    )  # fmt: skip
