"""Tests that cannot fail are refused when their file is read; tests that can fail somehow are accepted."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from swarmeval.errors import DataError
from swarmeval.tasks.assertions import idle
from swarmeval.tasks.catalog import load

METHOD = (
    "import unittest\nclass TestDouble(unittest.TestCase):\n"
    "    def test(self):\n        self.assertEqual(double(2), 4)\n"
)
IDLE = {
    "a unittest class": (METHOD, "nothing calls TestDouble"),
    "a unittest class with a guarded main": (
        f"{METHOD}if __name__ == '__main__':\n    unittest.main()", "nothing calls TestDouble"
    ),
    "a pytest function": ("def test_double():\n    assert double(2) == 4", "nothing calls test_double"),
    "a parametrized pytest function": (
        "import pytest\n@pytest.mark.parametrize('x', [1])\ndef test_double(x):\n    assert double(x) == 2 * x",
        "nothing calls test_double",
    ),
    "a pytest function that may fail": (
        "import pytest\n@pytest.mark.xfail(raises=ValueError)\ndef test_double():\n    assert double(2) == 4",
        "nothing calls test_double",
    ),
    "check with a blank": ("def check (candidate):\n    assert candidate(2) == 4", "nothing calls check"),
    "check on two lines": ("def check\\\n(candidate):\n    assert candidate(2) == 4", "nothing calls check"),
    "check of a class": ("class A:\n    def check (self, c):\n        assert c(2) == 4", "nothing calls A"),
    "an async check": (
        "async def check(candidate):\n    assert candidate(2) == 4",
        "check is async or a generator, so calling it does not run its body",
    ),
    "a check that yields": (
        "def check(candidate):\n    yield\n    assert candidate(2) == 4",
        "check is async or a generator, so calling it does not run its body",
    ),
    "a check that returns a bool": ("def check(candidate):\n    return candidate(2) == 4", "they assert nothing"),
    "a check that is a lambda": ("check = lambda candidate: candidate(2) == 4", "they assert nothing"),
    "a check that prints": ("def check(candidate):\n    print(candidate(2) == 4)", "they assert nothing"),
    "a check that does nothing": ("def check(candidate):\n    pass", "they assert nothing"),
    "a check of a helper that it never calls": (
        "def check(candidate):\n    def inner():\n        assert candidate(2) == 4", "they assert nothing"
    ),
    "an assertion of a pair": ("def check(candidate):\n    assert (candidate(2) == 4, 'no')", "they assert nothing"),
    "an assertion of a constant": ("def check(candidate):\n    candidate(2)\n    assert True", "they assert nothing"),
    "an assertion that is swallowed": (
        "def check(candidate):\n    try:\n        assert candidate(2) == 4\n    except Exception:\n        print('no')",
        "they assert nothing",
    ),
    "a comparison": ("double(2) == 4", "they assert nothing"),
    "a comment": ("# to be written\n", "there are no tests"),
    "a docstring and an import": ("'''Tests.'''\nimport math\n", "there are no tests"),
    "nothing": ("", "there are no tests"),
    "blanks": ("  \n\n", "there are no tests"),
}  # fmt: skip
MAY_FAIL = {
    "an assertion at once": "assert double(2) == 4",
    "a function that is called": "def test():\n    assert double(2) == 4\ntest()",
    "functions in a list": "def test():\n    assert double(2) == 4\nfor one in [test]:\n    one()",
    "functions found by name": (
        "def test_a():\n    assert double(2) == 4\nfor name, one in list(globals().items()):\n"
        "    if name.startswith('test'):\n        one()"
    ),
    "a function under a decorator of their own": (
        "def now(function):\n    function()\n@now\ndef test():\n    assert double(2) == 4"
    ),
    "a coroutine that is run": "import asyncio\nasync def main():\n    assert double(2) == 4\nasyncio.run(main())",
    "a generator of cases": (
        "def cases():\n    yield 2, 4\ndef check(candidate):\n"
        "    for x, y in cases():\n        assert candidate(x) == y"
    ),
    "a helper": "def same(x, y):\n    assert x == y\ndef check(candidate):\n    same(candidate(2), 4)",
    "a class that is used": "class T:\n    def run(self):\n        assert double(2) == 4\nT().run()",
    "an assertion of numpy": (
        "import numpy\ndef check(candidate):\n    numpy.testing.assert_allclose(candidate(2), 4)"
    ),
    "an assertion of unittest": (
        "import unittest\ndef check(candidate):\n    unittest.TestCase().assertEqual(candidate(2), 4)"
    ),
    "an exception": "def check(candidate):\n    if candidate(2) != 4:\n        raise ValueError",
    "an exception in place of a failed assertion": (
        "def check(candidate):\n    try:\n        assert candidate(2) == 4\n    except AssertionError as e:\n"
        "        raise ValueError from e"
    ),
    "an exception that is expected": (
        "def check(candidate):\n    try:\n        candidate('x')\n        assert False\n"
        "    except TypeError:\n        pass"
    ),
    "an exit": "import sys\ndef check(candidate):\n    candidate(2) == 4 or sys.exit(1)",
    "no Python": "def check(candidate:\n    assert",
}


def written(folder: Path, **row: Any) -> str:
    path = folder / "tasks.jsonl"
    path.write_text(json.dumps({"task_id": "Own/0", "prompt": "def double(x):\n", "entry_point": "double", **row}))
    return str(path)


@pytest.mark.parametrize(("test", "reason"), IDLE.values(), ids=IDLE)
def test_tests_that_cannot_fail_are_refused_in_one_line(tmp_path: Path, test: str, reason: str) -> None:
    path = written(tmp_path, test=test)
    said = (
        f"{path}: task 'Own/0': its tests cannot fail: {reason}; write assertions at module "
        "level or in 'def check(candidate):' (docs/adding-a-benchmark.md)"
    )
    with pytest.raises(DataError, match=f"^{re.escape(said)}$"):
        load("custom", path)


@pytest.mark.parametrize("test", MAY_FAIL.values(), ids=MAY_FAIL)
def test_tests_that_may_fail_are_taken(tmp_path: Path, test: str) -> None:
    (task,) = load("custom", written(tmp_path, test=test)).tasks
    assert task.suite.text.startswith(test)


def test_tests_of_other_forms_are_looked_at_too(tmp_path: Path) -> None:
    row = {"task_id": 11, "text": "Double a number.", "code": "def double(x):\n  return 2 * x"}
    path = tmp_path / "mbpp.jsonl"
    path.write_text(json.dumps({**row, "test_list": ["double(2) == 4"]}))
    with pytest.raises(DataError, match=r": task 'MBPP/11': its tests cannot fail: they assert nothing;"):
        load("mbpp", str(path))


def test_a_task_that_cannot_fail_is_named_among_others(tmp_path: Path) -> None:
    path = Path(written(tmp_path, test="assert double(2) == 4"))
    other = {"task_id": "Own/1", "prompt": "def f(x):\n", "entry_point": "f", "test": ""}
    path.write_text(path.read_text() + "\n" + json.dumps(other))
    with pytest.raises(DataError, match=r": task 'Own/1': its tests cannot fail: there are no tests;"):
        load("custom", str(path))


def test_every_test_of_humaneval_may_fail() -> None:
    assert [task.task_id for task in load("humaneval").tasks if idle(task.suite.text)] == []
