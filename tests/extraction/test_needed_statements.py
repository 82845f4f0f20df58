"""Top-level statements are kept if the entry point needs them; usage examples and unneeded tests are removed."""

import re
from dataclasses import replace

import pytest

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Suite, Task
from tests.support.wrappings import TASK, fence, program_passes

EXAMPLE = re.compile(r"^#: (.*)\n", re.MULTILINE)


def examples(text: str) -> dict[str, str]:
    """Programs, keyed by the titles above them."""
    parts = EXAMPLE.split(text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


NEEDED = examples(
    """
#: attribute
def total(xs):
    total.seen[0] = sum(xs)
    return total.seen[0]

total.seen = {}
#: attribute by setattr
def total(xs):
    return sum(xs) + total.zero

setattr(total, 'zero', 0)
#: loop
def total(xs):
    return sum(xs) + ZEROS[2]

ZEROS = []
for n in range(3):
    ZEROS.append(0)
#: loop variable
for ZERO in range(1):
    pass

def total(xs):
    return sum(xs) + ZERO
#: while
def total(xs):
    return sum(xs) + ZEROS[2]

ZEROS = []
while len(ZEROS) < 3:
    ZEROS += [0]
#: call of a method
STEPS = []
def total(xs):
    return STEPS[0](xs)

def plus(xs):
    return sum(xs)

STEPS.append(plus)
#: call that fills
ZEROS = []
def fill(into):
    into.append(0)

def total(xs):
    return sum(xs) + ZEROS[0]

fill(ZEROS)
#: call that sets
def total(xs):
    return sum(xs) + ZERO

def start():
    global ZERO
    ZERO = 0

start()
#: call through another
def total(xs):
    return sum(xs) + Z[0]

Z = []
def a():
    Z.append(0)
def b():
    a()
b()
#: try
def total(xs):
    return plus(xs)

try:
    from builtins import sum as plus
except ImportError:
    plus = None
#: try that prints
try:
    import nothing_here
except ImportError:
    print('none')
    nothing_here = None

def total(xs):
    return nothing_here or sum(xs)
#: alias of print
say = print

def total(xs):
    say(end='')
    return sum(xs)
#: alias of input
import sys
read = sys.stdin.readline

def total(xs, ask=read):
    return sum(xs)
#: match
match 0:
    case _:
        ZERO = 0

def total(xs):
    return sum(xs) + ZERO
#: match capture
def total(xs):
    return sum(xs) + ZERO

match [0]:
    case [ZERO]:
        pass
#: with
import contextlib
def total(xs):
    return sum(xs) + ZERO

with contextlib.nullcontext(0) as ZERO:
    pass
#: if
def total(xs):
    return sum(xs) + ZERO

if 1:
    ZERO = 0
else:
    print('x')
    ZERO = 1
#: walrus
def total(xs):
    return sum(xs) + ZERO

(ZERO := 0)
#: tuple
def total(xs):
    return sum(xs) + ZERO

ONE, (ZERO, *rest) = 1, (0, 2)
#: annotated
def total(xs):
    return sum(xs) + ZERO

ZERO: int = 0
#: augmented
def total(xs):
    return sum(xs) + ZERO

ZERO = 1
ZERO -= 1
#: deletion
ITEMS = [1, 0]
def total(xs):
    return sum(xs) + ITEMS[0]

del ITEMS[0]
#: name in a string
def total(xs):
    return sum(xs) + globals()['ZERO']

ZERO = 0
#: set by name
def total(xs):
    return sum(xs) + ZERO

globals()['ZERO'] = 0
#: exec
def total(xs):
    return sum(xs) + ZERO

exec('ZERO = 0')
#: comprehension
def total(xs):
    return sum(xs) + ZEROS[1]

ZEROS = []
[ZEROS.append(0) for _ in range(2)]
#: default
def total(xs):
    return Sum().of(xs)

ZERO = 0
class Sum:
    def of(self, xs, zero=ZERO):
        return sum(xs) + zero
#: method of a class
class Sum:
    pass

def total(xs):
    return Sum().of(xs)

Sum.of = lambda self, xs: sum(xs)
#: logger
import logging
log = logging.getLogger(__name__)

def total(xs):
    log.debug(xs)
    return sum(xs)
#: table of the answer itself
def total(xs):
    return sum(xs) + KNOWN.get(5, 0)

KNOWN = {}
KNOWN[0] = total([])
#: test in the name
def test_sum(xs):
    return ZERO + sum(xs)

def total(xs):
    return test_sum(xs)

ZERO = 0
#: test behind a table
def total(xs):
    return STEPS['sum'](xs)

def test_it(xs):
    return sum(xs)

STEPS = {'sum': test_it}
#: test as a class
class Tester:
    def run(self, xs):
        return sum(xs)

def total(xs):
    return Tester().run(xs)
"""
)


@pytest.mark.parametrize("code", NEEDED.values(), ids=NEEDED)
def test_what_the_entry_point_needs_stays(code: str) -> None:
    usage = (
        "\n\nprint(total([1]))\nn = int(input())\nassert total([1]) == 4\nfor n in [1]:\n    print(total([n]), 1 / 0)\n"
    )
    for reply in (fence(code), code, fence(code + usage), f"Sure!\n{code}{usage}\nDone."):
        found = candidate(reply, "reply", TASK)
        assert program_passes(found, TASK), found
        assert "assert total" not in found.code


USAGE = {
    "input": "n = int(input())\nprint(total(n))",
    "input under the name of a local": "xs = input().split()\nprint(total(xs))",
    "lines": "import sys\nfor line in sys.stdin:\n    print(total(line))\nraise SystemExit(1 / 0)",
    "loop": "for a in [1]:\n    print(total(a))\n    assert 0",
    "main": "def main():\n    xs = total(int(input()))\n\nmain()",
    "checks": "def check(f):\n    assert f([1]) == 2\n\ncheck(total)",
    "exit": "import sys\nsys.exit(total([2]))",
    "memory of the answer": "result = total(0)\nresults = [total(1)]\nresults.append(total(2))",
    "method": "class Other:\n    pass\n\nx = Other()\nx.value = total(1 / 0)",
    "tests": "def test_total():\n    assert total([1]) == 2\n\ntest_total()",
    "test class": "class TestTotal(nothing.TestCase):\n    pass",
}


@pytest.mark.parametrize("usage", USAGE.values(), ids=USAGE)
def test_usage_that_would_fail_goes(usage: str) -> None:
    body = "    SEEN[0] = xs\n    n = line = a = results = sum(xs)\n    return n\n"
    code = f"import math\nSEEN = {{}}\n\ndef total(xs):\n{body}"
    for reply in (fence(f"{code}\n\n{usage}"), f"{code}\n\n{usage}\n", f"{fence(code)}\nUsage:\n{fence(usage)}"):
        assert program_passes(candidate(reply, "reply", TASK), TASK), reply


@pytest.mark.parametrize("name", ["test_total", "testTotal", "TEST", "tests"])
def test_an_entry_point_named_like_a_test_is_not_a_test(name: str) -> None:
    suite = Suite(name, TASK.suite.text.replace("check(total)", f"check({name})"))
    task = Task("Toy/1", '"""Write it."""\n', suite)
    helper = "import nothing_here\n\ndef add_up(xs):\n    return sum(xs) + ZERO\n\nZERO = 0"
    code = f"{helper}\n\ndef {name}(xs):\n    return add_up(xs)"
    tests = "def test_that():\n    return 1\n\ndef test_more():\n    return 2"
    for reply in (code, fence(code), f"{fence(code)}\n{fence(tests)}", fence(f"{code}\n\n{tests}")):
        found = candidate(reply, "reply", task)
        assert program_passes(found, task), found
        assert "test_more" not in found.code
    other = fence("def test_it(xs):\n    return sum(xs)")
    assert program_passes(candidate(other, "reply", task, any_name=True), task)


def test_a_continuation_keeps_what_stands_below_it_and_is_needed() -> None:
    for rest in (
        "    return sum(numbers) + ZEROS[2]\n\nZEROS = []\nfor n in range(3):\n    ZEROS.append(0)\n",
        "    total.seen[0] = sum(numbers)\n    return total.seen[0]\n\n\ntotal.seen = {}\n\nprint(total([1]))\n",
        "    return STEPS[0](numbers)\n\n\nSTEPS = [sum]\nassert total([1]) == 3\n",
    ):
        for reply in (rest, fence(rest)):
            assert program_passes(candidate(reply, "reply", TASK), TASK), reply


def test_another_block_gives_imports_and_data_that_are_lacking() -> None:
    code = fence("def total(numbers):\n    return math.floor(sum(numbers)) + ZERO")
    for first in (f"{fence('import math')}\n{fence('ZERO = 0')}", fence("import math\nZERO = 0\nx = input()")):
        assert program_passes(candidate(f"{first}\nand\n{code}", "reply", TASK), TASK)


def test_a_statement_of_the_prompt_is_not_usage() -> None:
    task = replace(TASK, prompt="ZEROS = [0]\n\n" + TASK.prompt)
    assert program_passes(candidate(fence("def total(xs):\n    return sum(xs) + ZEROS[0]"), "reply", task), task)
