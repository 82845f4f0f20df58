"""Executed programs: each way to end has an outcome, and outputs are compared outside the jail."""

import pytest

from swarmeval.errors import SandboxError
from tests.support.executed_runs import HELLO, endings, execute, python, script

pytestmark = pytest.mark.slow
SUM = "read a b; echo $((a + b))"


def shell(command: str) -> list[str]:
    return ["/bin/sh", "-c", command]


def test_every_ending_of_an_executed_program_has_its_outcome() -> None:
    tried = {
        ("PASSED", ""): script("echo hello"),
        ("WRONG_ANSWER", "case 1 of 1: line 1: expected 'hello', found 'bye'"): script("echo bye"),
        ("RAISED", "case 1 of 1: exit code 3: an error"): script("echo an error >&2; exit 3"),
        ("RAISED", "case 1 of 1: exit code 3: no message"): script("exit 3"),
        ("CRASHED", "case 1 of 1: SIGSEGV"): script("kill -SEGV $$"),
        ("BAD_SYNTAX", "line 3: unexpected end"): script("", build=shell("echo line 3: unexpected end; exit 1")),
        ("RAISED", "case 1 of 1: exit code 127: not found"): script("echo not found >&2; exit 127"),
        ("RAISED", "case 1 of 1: exit code 127: ./own: No such file or directory"): script("", run=["./own"]),
    }  # fmt: skip
    assert endings(*tried.values()) == list(tried)


def test_a_compiler_that_cannot_be_run_is_our_fault_not_the_programs() -> None:
    with pytest.raises(
        SandboxError, match=r"^sandbox: the toolchain cannot be run: /no/cc: No such file or directory$"
    ):
        execute(script("echo hello", build=["/no/cc"]))


def test_an_interpreter_that_cannot_be_run_is_our_fault_not_the_programs() -> None:
    with pytest.raises(
        SandboxError, match=r"^sandbox: the toolchain cannot be run: /no/python: No such file or directory$"
    ):
        execute(script("echo hello", run=["/no/python"]))
    with pytest.raises(SandboxError, match=r"^sandbox: the toolchain cannot be run: /etc: Permission denied$"):
        execute(script("echo x7", run=["/etc"], cases=[], secret="x7"))


def test_a_program_that_removes_or_replaces_its_folder_has_itself_to_blame() -> None:
    ends = [f"cd /; rm -rf $HOME; {more} echo hello" for more in ("", "touch $HOME;", "ln -s /own $HOME;")]
    (*found, last) = endings(*(script(text, HELLO, HELLO) for text in ends), script("touch new; echo hello"))
    assert {outcome for outcome, _ in found} == {"RAISED"}
    assert all(detail.startswith("case 2 of 2: exit code ") for _, detail in found)
    assert last == ("PASSED", "")


def test_a_syntax_check_that_cannot_be_run_shows_no_syntax_error() -> None:
    (found,) = endings(script("echo an error >&2; exit 3", check=["/no/check"]))
    assert found == ("RAISED", "case 1 of 1: exit code 3: an error")


def test_the_detail_of_an_exception_is_its_message() -> None:
    assert endings(python("raise ValueError('no such word')")) == [
        ("RAISED", "case 1 of 1: exit code 1: ValueError: no such word")
    ]


def test_a_case_has_its_own_input_and_arguments() -> None:
    cases = [("1 2\n", "3", ()), ("40 2\n", "42", ())]
    assert endings(script(SUM, *cases), script("echo $2-$1", ("", "b-a", ["a", "b"]))) == [("PASSED", "")] * 2


def test_the_first_wrong_case_ends_a_program() -> None:
    cases = [("1 2\n", "3", ()), ("1 2\n", "4", ()), ("1 2\n", "5", ())]
    assert endings(script(SUM, *cases)) == [("WRONG_ANSWER", "case 2 of 3: line 1: expected '4', found '3'")]


def test_the_standard_streams_have_their_names() -> None:
    text = "set -e; cat /dev/stdin > /dev/stdout; echo > /dev/fd/1; cat /dev/fd/0 > /dev/stderr"
    assert endings(script(text, ("hello", "hello", ()))) == [("PASSED", "")]


def test_a_build_makes_files_for_the_runs() -> None:
    order = script("unused", build=shell("echo echo hello > built"), run=["/bin/sh", "built"])
    assert endings(order) == [("PASSED", "")]


def test_a_program_with_tests_must_print_its_secret() -> None:
    orders = [script(text, cases=[], secret="x7") for text in ("echo x7; echo OK", "echo x70", "exit 0; echo x7")]
    early = ("RAISED", "it ended with exit code 0 before its tests had ended")
    assert endings(*orders) == [("PASSED", ""), early, early]
    assert all(answer["unconfirmed"] for answer in execute(*orders))


def test_a_failed_assertion_of_tests_is_a_wrong_answer() -> None:
    text = "echo Assertion failed: 1 == 2 >&2; exit 1"
    assert endings(script(text, cases=[], failure_output="Assertion failed")) == [
        ("WRONG_ANSWER", "Assertion failed: 1 == 2")
    ]


def test_a_syntax_error_of_a_script_is_told_from_an_exception() -> None:
    check = ["/bin/sh", "-n", "script"]
    found = execute(script("if", check=check), script("false", check=check))
    assert [answer["outcome"] for answer in found] == ["BAD_SYNTAX", "RAISED"]


def test_files_lie_beside_the_program_and_are_gone_for_the_next() -> None:
    first = script("cat data/one; touch left", files={"data/one": "hello"})
    found = endings(first, script("ls", ("", "script", ())))
    assert found == [("PASSED", ""), ("PASSED", "")]


def test_a_checker_judges_the_output_in_its_own_jail() -> None:
    checker = "def check(stdin, expected, output):\n    return sorted(output.split()) == sorted(expected.split())"
    orders = [script(f"echo {text}", ("", "1 2 3", ()), rule="checker", checker=checker) for text in ("3 1 2", "3 1 1")]
    refused = ("WRONG_ANSWER", "case 1 of 1: the checker refuses it")
    assert endings(*orders) == [("PASSED", ""), refused]


def test_a_checker_that_fails_accepts_nothing() -> None:
    checker = "def check(stdin, expected, output):\n    print('correct')\n    return int(output)"
    (found,) = endings(script("echo a", ("", "1", ()), rule="checker", checker=checker))
    assert found[0] == "WRONG_ANSWER"
    assert found[1].startswith("case 1 of 1: the checker failed: ValueError: invalid literal")


def test_time_and_memory_are_limited_for_all_processes_together() -> None:
    sleeper, endless = script("sleep 50 & sleep 60"), script("while :; do :; done")
    assert endings(sleeper, endless, timeout_s=0.5) == [("TIMED_OUT", "case 1 of 1: Time limit exceeded: 0.5 s")] * 2
    fork = "import os, time\nfor _ in range(4): x = b'' if os.fork() else bytearray(100 << 20)\ntime.sleep(9)"
    shared = "import mmap\nm = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): m[i] = 1"
    found = execute(python(fork), python(shared), memory_mb=256)
    assert [answer["outcome"] for answer in found] == ["OUT_OF_MEMORY", "OUT_OF_MEMORY"]


def test_a_flood_of_output_is_cut_and_wrong() -> None:
    found = endings(script("yes"), script("yes >&2", run=["/bin/sh"]), timeout_s=1.0)
    assert found[0] == ("WRONG_ANSWER", "case 1 of 1: it printed more than 16,777,226 bytes")
    assert found[1] == ("TIMED_OUT", "case 1 of 1: Time limit exceeded: 1 s")


def test_a_long_input_and_output_arrive_whole() -> None:
    text = "0123456789\n" * 200_000
    assert endings(script("cat", (text, text, ()), rule="exact")) == [("PASSED", "")]
