"""Every change of a module's attributes or of a setting is seen, with and without CPython's counters of changes."""

import json
import subprocess
import sys

import pytest

from tests.support.checkout import ROOT

CHANGES = {
    "nothing": "",
    "use of modules": "math.pi, string.digits, json.loads('[1]'), made.a",
    "a value that is put back": "before = made.a; made.a = 1; made.a = before",
    "another value": "made.a = 3",
    "an equal value": "made.a = [1]",
    "a new name": "made.c = 1",
    "a name less": "del made.b",
    "two names exchanged": "made.a, made.b = made.b, made.a",
    "a new module": "sys.modules['other'] = made",
    "another module": "sys.modules['made'] = json",
    "a random number": "random.random()",
    "the recursion limit": "sys.setrecursionlimit(sys.getrecursionlimit() + 1)",
    "the path": "sys.path.append('x')",
}
UNCHANGED = {"nothing", "use of modules", "a value that is put back"}
# A fresh process, since modules of the test runner change their attributes at any time; a fork per change.
SCRIPT = """
import json, math, os, random, string, sys, types
from swarmeval.sandbox.interpreter_state import InterpreterState
uses_counters, changes = json.loads(sys.argv[1])
made = sys.modules["made"] = types.ModuleType("made")
made.a, made.b, found = [1], 2, {}
def is_unchanged(change):
    names = dict(globals())  # not those of the main module
    state = InterpreterState(uses_counters)
    exec(change, names)
    return state.is_unchanged()
for name, change in changes.items():
    if (child := os.fork()) == 0:
        os._exit(is_unchanged(change))
    found[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
print(json.dumps(found))
"""


@pytest.mark.parametrize("uses_counters", [True, False])
def test_every_change_of_the_interpreter_is_seen(uses_counters: bool) -> None:
    words = [sys.executable, "-c", SCRIPT, json.dumps([uses_counters, CHANGES])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {name: name in UNCHANGED for name in CHANGES}
