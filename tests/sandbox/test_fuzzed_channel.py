"""The channel between a program and its tests: no bytes deceive, crash or delay either side."""

import contextlib
import io
import json
import socket
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from fractions import Fraction

import pytest

from swarmeval.sandbox import plain_data
from swarmeval.sandbox.program_side import call
from swarmeval.sandbox.tests_side import judge
from tests.support.fuzzing import BRIEF_S, BUDGET_S, fuzz

# Only the JSON of this list can be read as an equal value, since each part has one form.
EXPECTED = ["a", None, ["b", "\ud800"], ""]
TESTS = f"argument = [3, 1]\nfound = f(argument, key={{1}})\nassert found == {EXPECTED!r}\nassert argument == [3, 1]"
VALUES: tuple[object, ...] = (
    EXPECTED, None, True, 0, -(2**70), 1.5, float("nan"), 1j, "x", b"x", bytearray(b"x"), (1, "a"), {1: [2]}, {1},
    frozenset({2}), range(3), Counter("aab"), OrderedDict(a=1), deque([1]), Decimal("NaN"), Fraction(1, 3),
    {1: 2}.keys(), {1: 2}.values(), {1: 2}.items(), iter([1]), int, object(), [[[]]] * 9,
)  # fmt: skip
NUMBERS, NUMBERS_AND_SET = (plain_data.dumps([[[3, 1]], keywords]) for keywords in ({}, {"key": {1}}))
CORPUS = [
    *(call(lambda *_, value=value: value, NUMBERS).encode() for value in VALUES),
    call(lambda x, key: x.clear(), NUMBERS_AND_SET).encode(),
    call(lambda x, key: key.clear(), NUMBERS_AND_SET).encode(),
    call(lambda: 1 / 0, plain_data.dumps([[], {}])).encode(),
    json.dumps(
        {"value": EXPECTED, "printed": "é" * 99, "arguments": [[[3, 1]], {"dict": [["key", {"set": [1]}]]}]}
    ).encode(),
]
WORDS = [
    *(json.dumps(name).encode() + b": " for name in ("value", "raised", "arguments", "printed", *plain_data.READERS)),
    b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\",
    b"\n",
    b"\\ud800", b"\xff\xfe", b'{"opaque": "x"}', b'{"iterator": [1]}', b'"StopIteration"', b'"SystemExit"', b'"0x"',
    b'"1e999999999"', b"[" * 5000, b'{"list": ' * 99, b'["AssertionError", "", ""]',
]  # fmt: skip
WORDS_OF_REPORTS = {"PASSED", "WRONG_ANSWER", "RAISED", "LOST", "GARBLED", "OUT_OF_MEMORY"}


def check_answer(data: bytes) -> None:
    """Check the tests' side, which reads a program's answers."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data + b"\n")
        theirs.shutdown(socket.SHUT_WR)
        with contextlib.redirect_stdout(io.StringIO()):  # discards what the program printed
            report, _ = judge("", TESTS, "f", [], ours.fileno())
    word = report.decode().partition("\n")[0]
    assert word in WORDS_OF_REPORTS
    if word == "PASSED":
        assert json.loads(data.partition(b"\n")[0])["value"] == EXPECTED


def check_call(data: bytes) -> None:
    """Check the program's side: it can write every value that it reads, and always in the same way."""
    try:
        value = plain_data.loads(data)
    except plain_data.Malformed:
        return
    text = plain_data.dumps(value)
    if '"set"' not in text and '"frozenset"' not in text:  # their order depends on how they were built
        assert plain_data.dumps(plain_data.loads(text)) == text


CALLS = [plain_data.dumps([[value], {"key": value}]).encode() for value in VALUES]


def test_no_answer_deceives_the_tests_briefly() -> None:
    fuzz(check_answer, CORPUS, WORDS, BRIEF_S)


def test_what_is_read_is_said_again_the_same_briefly() -> None:
    fuzz(check_call, CALLS, WORDS, BRIEF_S)


@pytest.mark.slow
@pytest.mark.timeout(2 * BUDGET_S + 300)
def test_no_answer_deceives_the_tests() -> None:
    fuzz(check_answer, CORPUS, WORDS, BUDGET_S / 2)
    fuzz(check_call, CALLS, WORDS, BUDGET_S / 2)
