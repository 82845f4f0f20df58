"""Recorded calls stay in bounded memory, apart for each owner of tests."""

from dataclasses import replace

from swarmeval.records import Program
from swarmeval.sandbox.known_calls import CALL_CHARS, ENTRY_CHARS, KnownCalls
from swarmeval.sandbox.tester import calls_in

REFERENCE = Program("def f(): pass", "check(f)", "f", is_reference=True)


def reference(number: int) -> Program:
    return replace(REFERENCE, tests=f"check(f, {number})")


def test_programs_are_asked_the_calls_of_their_reference() -> None:
    known = KnownCalls()
    known.learn(REFERENCE, ["f(1)"])
    program = replace(REFERENCE, solution="def f(): return 1", is_reference=False)
    assert (known.ahead(program), known.ahead(REFERENCE)) == (["f(1)"], None)
    assert known.ahead(replace(program, owner="another")) == ()
    assert known.ahead(replace(program, tests="others")) == ()


def test_a_failed_reference_is_known_and_takes_no_calls_away() -> None:
    known = KnownCalls()
    assert not known.knows(REFERENCE)
    known.learn(REFERENCE, ())
    assert known.knows(REFERENCE)
    known.learn(REFERENCE, ["f(1)"])
    known.learn(REFERENCE, ())
    assert known.ahead(replace(REFERENCE, is_reference=False)) == ["f(1)"]


def test_the_calls_used_least_recently_are_forgotten() -> None:
    known = KnownCalls(most_chars=3 * (ENTRY_CHARS + CALL_CHARS + 10))
    for number in range(3):
        known.learn(reference(number), ["f(1234567)"])
    assert known.knows(reference(0))
    known.learn(reference(3), ["f(1234567)"])
    assert [known.knows(reference(number)) for number in range(4)] == [True, False, True, True]
    known.learn(reference(4), ["x" * ENTRY_CHARS])  # as large as two others
    assert [known.knows(reference(number)) for number in range(5)] == [False, False, False, True, True]


def test_empty_calls_take_memory_too() -> None:
    known = KnownCalls(most_chars=2 * ENTRY_CHARS + 100 * CALL_CHARS)
    known.learn(reference(0), [""] * 60)
    known.learn(reference(1), [""] * 60)
    assert [known.knows(reference(number)) for number in range(2)] == [False, True]


def test_hostile_tests_cannot_record_anything_but_texts() -> None:
    assert calls_in(b'["f(1)", "f(2)"]') == ["f(1)", "f(2)"]
    for shown in (b"[1]", b"[[[], []]]", b'{"f": 1}', b'"f"', b"null", b"nothing", b"\xff", b"[" * 100_000):
        assert calls_in(shown) == []
