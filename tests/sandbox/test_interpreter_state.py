"""Every change of a module's attributes or of a setting is seen, with and without CPython's counters of changes."""

import json
import math
import random
import string
import sys
import types
from collections.abc import Callable

import pytest

from swarmeval.sandbox.interpreter_state import InterpreterState

made = types.ModuleType("made")
CHANGES: dict[str, Callable[[], object]] = {
    "another value": lambda: setattr(made, "a", 3),
    "an equal value": lambda: setattr(made, "a", [1]),
    "a new name": lambda: setattr(made, "c", 1),
    "a name less": lambda: delattr(made, "b"),
    "two names exchanged": lambda: made.__dict__.update(a=made.b, b=made.a),
    "a new module": lambda: sys.modules.update(other=made),
    "another module": lambda: sys.modules.update(made=json),
    "a random number": random.random,
    "the recursion limit": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "the path": lambda: sys.path.append("x"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("uses_counters", [True, False])
def test_every_change_of_the_interpreter_is_seen(change: str, uses_counters: bool) -> None:
    made.__dict__.update(a=[1], b=2)
    sys.modules["made"] = made
    limit, draws, path = sys.getrecursionlimit(), random.getstate(), [*sys.path]
    state = InterpreterState(uses_counters)
    try:
        assert state.is_unchanged()
        CHANGES[change]()
        assert not state.is_unchanged()
    finally:
        sys.setrecursionlimit(limit)
        random.setstate(draws)
        sys.path[:] = path
        del sys.modules["made"]
        sys.modules.pop("other", None)
        made.__dict__.pop("c", None)


def test_reading_and_using_modules_is_no_change() -> None:
    state = InterpreterState()
    assert (math.pi, string.digits, json.loads("[1]")) == (math.pi, "0123456789", [1])
    assert state.is_unchanged()


def test_a_change_that_is_undone_is_no_change() -> None:
    made.__dict__.update(a=[1])
    sys.modules["made"] = made
    try:
        state, before = InterpreterState(), vars(made)["a"]
        vars(made).update(a=1)
        vars(made).update(a=before)
        assert state.is_unchanged()
    finally:
        del sys.modules["made"]
