"""Forged verdicts: which programs pass without a right answer, and which do not."""

import pytest

from swarmeval.records import Outcome
from swarmeval.sandbox.toolchains import find, program_text
from tests.support.executed_runs import endings, execute, python, script

pytestmark = pytest.mark.slow
SECRET = "5ec4e7"
TESTS = "assert candidate(1, 2) == 3"
# None of these is right. Each tries to end with code 0, or to replace the failure of its tests.
REFUSED = {
    "an exit": "raise SystemExit(0)",
    "an exit without handlers": "import os\nos._exit(0)",
    "an exit handler": "import atexit, os\natexit.register(os._exit, 0)\ncandidate = max",
    "a hook for exceptions": "import os, sys\nsys.excepthook = lambda *error: os._exit(0)\ncandidate = max",
    "an exit in the tests": "candidate = lambda *numbers: exit(0)",
    "another process's exit": "import os\nif os.fork(): os._exit(0)\ncandidate = max",
    "another program": "import os\nos.execv('/bin/true', ['true'])",
    "a killed parent": "import os\ntry: os.kill(os.getppid(), 9)\nexcept OSError: pass\nos._exit(0)",
    "a trace": "import sys\ncandidate = max\nsys.settrace(lambda *event: sys.exit(0))",
    "guesses": "for number in range(1 << 16): print(f'{number:06x}')\nraise SystemExit(0)",
    "a stolen line": "import os\nfor key in os.environ.values(): print(key)\nraise SystemExit(0)",
    "its arguments": "print(open('/proc/self/cmdline').read().replace('\\0', '\\n'))\nraise SystemExit(0)",
}
# These pass: the tests are part of the program, which can read and change them.
FORGED = {
    "its own text": "import re\nprint(re.findall('[0-9a-f]{6}', open(__file__).read())[-1])\nraise SystemExit(0)",
    "an answer equal to everything": "class Any:\n    __eq__ = lambda *a: True\ncandidate = lambda *a: Any()",
    "a comparison of its own": "class A(int):\n    __eq__ = lambda *a: True\ncandidate = lambda *a: A(7)",
}  # fmt: skip
# Looks for the expected output in all that a program can read of itself. Its own text must not contain it.
SEARCH = """
import os, pathlib
wanted = b"expected" + b"-77"
places = ["/proc/self/environ", "/proc/self/cmdline", "/proc/self/maps", "/proc/self/mountinfo", "/proc/self/fd/0"]
places += [path for folder in (".", "/own/files") for path in pathlib.Path(folder).rglob("*") if path.is_file()]
for place in places:
    try:
        if wanted in open(place, "rb").read(): print("found in", place)
    except OSError: pass
for line in open("/proc/self/maps"):
    start, end = (int(text, 16) for text in line.split()[0].split("-"))
    with open("/proc/self/mem", "rb", 0) as memory:
        try:
            memory.seek(start)
            count = memory.read(min(end - start, 1 << 26)).count(wanted)
        except (OSError, ValueError, OverflowError): continue
        if count and "[heap]" not in line and "rw" not in line.split()[1]: print("found in memory", line)
print("done")
"""


def with_tests(candidate: str) -> str:
    return program_text(find("python"), candidate, TESTS, SECRET)


def judged(candidates: list[str]) -> list[dict[str, object]]:
    return execute(*(python(with_tests(text), cases=[], secret=SECRET) for text in candidates))


def test_an_early_end_or_a_guess_does_not_pass() -> None:
    found = judged(list(REFUSED.values()))
    passed = [name for name, answer in zip(REFUSED, found, strict=True) if answer["outcome"] == Outcome.PASSED]
    assert passed == []


def test_a_program_that_reads_or_changes_its_tests_passes_unconfirmed() -> None:
    found = judged([*FORGED.values(), "candidate = lambda a, b: a + b"])
    assert [(answer["outcome"], answer["unconfirmed"]) for answer in found] == [("PASSED", True)] * 4


def test_no_program_finds_the_expected_output_of_its_case() -> None:
    (found,) = endings(python(SEARCH, ("", "expected-77", ())))
    assert found == ("WRONG_ANSWER", "case 1 of 1: line 1: expected 'expected-77', found 'done'")


def test_no_case_shows_what_an_earlier_one_expected() -> None:
    """A program may keep its inputs from case to case, but no expected output is ever beside it."""
    cases = [("1", "answer-1", ()), ("2", "answer-2", ())]
    checker = "def check(stdin, expected, output): return 'answer' not in output and expected[-1] == stdin"
    assert endings(script("cat ./* kept; cat >> kept; exit 0", *cases, rule="checker", checker=checker)) == [
        ("PASSED", "")
    ]
