"""Edge cases of extraction: black, tasks without a stub, other function names, and text that repairs must keep."""

import textwrap
from dataclasses import replace

import pytest

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Candidate, Outcome, Suite, Task
from tests.support.wrappings import TASK, canonical, fence, program_passes


@pytest.mark.slow
def test_black_changes_the_layout_and_not_the_program() -> None:
    ugly = "def total( numbers ):\n    return sum( numbers )"
    found = candidate(ugly, "reply", TASK, use_black=True)
    assert found.code == "\ndef total(numbers):\n    return sum(numbers)\n"
    assert found.note == "whole reply, black"


@pytest.mark.slow
def test_black_formats_real_answers_and_leaves_strange_ones_alone() -> None:
    for task, body in canonical()[::8]:
        for reply in (body, fence(task.prompt + body)):
            found = candidate(reply, "reply", task, use_black=True)
            assert found.note.endswith(", black") or found == candidate(reply, "reply", task)
            assert program_passes(found, task)
    deep = "    return " + "+".join("1" * 1500)
    assert candidate(deep, "reply", TASK, use_black=True).code.startswith(deep)


WHAT_STRINGS_HOLD = (
    "it’s “so”", "a &lt; b &amp;&amp; c", "a\u00a0b\u200bc", "<answer>", "</code>", "<think>", "x<|im_end|>", "```",
    "+", ">>> x", "1 | 2", "\ta", "\x1b[1m",
)  # fmt: skip


@pytest.mark.parametrize("held", WHAT_STRINGS_HOLD)
@pytest.mark.parametrize("quotes", ['"', "'", '"""'])
def test_right_code_keeps_what_its_strings_hold(held: str, quotes: str) -> None:
    code = f"def total(numbers):\n    assert {held!a} == {quotes}{held}{quotes}\n    return sum(numbers)"
    for reply in (code, fence(code), f"It’s &lt;this&gt;:\n{fence(code)}\nThat’s all", code.partition("\n")[2]):
        assert program_passes(candidate(reply, "reply", TASK), TASK), reply


def test_a_multi_line_string_keeps_lines_that_look_like_marks() -> None:
    text = "+ a\n> b\n1 | c\n>>> d\n<code>\n[DONE]\n\te\n"
    code = f'def total(numbers):\n    text = """{text}"""\n    assert text == {text!r}\n    return sum(numbers)'
    assert program_passes(candidate(fence(code), "reply", TASK), TASK)


def test_an_unquoted_html_entity_is_decoded_even_if_it_parses_as_python() -> None:
    escaped = fence("def total(numbers):\n    return 0 if 0 &lt; 0 else sum(numbers)")
    assert program_passes(candidate(escaped, "reply", TASK), TASK)
    assert program_passes(candidate("    return sum(numbers) &amp; -1", "reply", TASK), TASK)


def test_a_repair_is_noted() -> None:
    found = candidate(fence("1 def total(numbers):\n2     return sum(numbers)"), "reply", TASK)
    assert found == Candidate("\ndef total(numbers):\n    return sum(numbers)", note="fence, repaired")


OTHER_NAME = "def add_up(numbers):\n    return sum(numbers)"


def test_another_name_counts_only_where_that_is_allowed() -> None:
    strict = candidate(fence(OTHER_NAME), "reply", TASK)
    assert strict == Candidate("\n" + OTHER_NAME, note="total is not defined")
    lenient = candidate(fence(OTHER_NAME), "reply", TASK, any_name=True)
    assert lenient == Candidate(f"\n{OTHER_NAME}\n\n\ntotal = add_up\n", note="add_up taken for total")
    assert program_passes(lenient, TASK)


@pytest.mark.parametrize(
    "reply",
    [
        fence(OTHER_NAME + "\n\n\ndef other(x):\n    return x"),
        fence(OTHER_NAME) + "\nor\n" + fence("def other(x):\n    return x"),
        fence(OTHER_NAME + "\n\n\ndef total(numbers):\n    return 0"),
        fence("def test_total():\n    assert total([]) == 0"),
        fence("def add_up(numbers):\n    ..."),
    ],
)
def test_another_name_does_not_count_beside_others(reply: str) -> None:
    assert candidate(reply, "reply", TASK, any_name=True) == candidate(reply, "reply", TASK)


def test_another_name_counts_beside_tests_and_stubs() -> None:
    stub = "def total(numbers):\n    pass"
    tests = "def test_total():\n    assert add_up([]) == 0"
    assert program_passes(
        candidate(fence(f"{stub}\n\n\n{OTHER_NAME}\n\n\n{tests}"), "reply", TASK, any_name=True), TASK
    )


@pytest.mark.parametrize("call", ["total([])", "total"])
def test_a_function_comes_before_a_method_of_its_name(call: str) -> None:
    matrix = "class Sum:\n    def total(self):\n        return 7"
    for code in (f"{RIGHT}\n\n\n{matrix}", f"{matrix}\n\n\n{RIGHT}", f"{RIGHT}\n```\n```\n{matrix}"):
        assert program_passes(candidate(fence(code), "reply", TASK), TASK)


RIGHT = "def total(numbers):\n    return sum(numbers)"
BARE = [
    Task("Bare/0", prompt, TASK.suite) for prompt in ("", '"""Write total(numbers).\n\nassert total([]) == 0\n"""\n')
]


@pytest.mark.parametrize("task", BARE, ids=["empty prompt", "docstring"])
def test_a_task_without_a_stub_is_answered_by_a_whole_program(task: Task) -> None:
    for reply in (
        RIGHT,
        f"\n{RIGHT}\n\n\nprint(total([1]))\n",
        fence(RIGHT),
        "```python\n" + RIGHT,
        f"Sure!\n{RIGHT}\nDone.",
    ):
        found = candidate(reply, "reply", task)
        assert found.code.strip() == RIGHT
        assert program_passes(found, task)
    assert program_passes(candidate(RIGHT, "solution", task), task)
    assert program_passes(
        candidate(fence(f"class A:\n{textwrap.indent(RIGHT.replace('(', '(self, ', 1), '    ')}"), "reply", task), task
    )


@pytest.mark.parametrize("task", BARE, ids=["empty prompt", "docstring"])
def test_a_body_is_not_an_answer_without_a_signature_above_it(task: Task) -> None:
    for reply in ("    return sum(numbers)\n", "return sum(numbers)", fence("    return sum(numbers)")):
        assert candidate(reply, "reply", task).outcome in (Outcome.BAD_SYNTAX, Outcome.EMPTY)


@pytest.mark.parametrize("comment", ["", "    # Add up.\n"])
def test_a_prompt_may_end_in_a_signature_or_a_comment(comment: str) -> None:
    task = replace(TASK, prompt=f"def total(numbers):\n{comment}")
    for reply in (
        "    return sum(numbers)",
        fence(RIGHT),
        f"from math import *\n{RIGHT}",
        fence("    return sum(numbers)"),
    ):
        assert program_passes(candidate(reply, "reply", task), task)
    assert candidate(RIGHT, "solution", task).code == f"    pass\n\n{RIGHT}"


def test_a_helper_that_the_prompt_leaves_open_is_kept_too() -> None:
    inner, outer = "def add_up(numbers):\n    return sum(numbers)", "def total(numbers):\n    return add_up(numbers)"
    task = replace(TASK, prompt='def add_up(numbers):\n    """Add."""\n\n\ndef total(numbers):\n    """Call it."""\n')
    assert program_passes(candidate(f"{fence(inner)}\nThen:\n{fence(outer)}", "reply", task), task)


def test_a_function_and_the_one_it_calls_are_both_kept() -> None:
    inner, outer = "def add_up(numbers):\n    return sum(numbers)", "def total(numbers):\n    return add_up(numbers)"
    for reply in (
        fence(f"{inner}\n\n\n{outer}"),
        fence(f"{outer}\n\n\n{inner}"),
        f"{fence(inner)}\nThen:\n{fence(outer)}",
    ):
        for task in (TASK, *BARE):
            assert program_passes(candidate(reply, "reply", task), task)
    inner, outer = (text.replace("add_up", "test_sum") for text in (inner, outer))  # a name does not make it a test
    assert program_passes(candidate(f"{fence(inner)}\nThen:\n{fence(outer)}", "reply", TASK), TASK)


def test_a_body_and_the_function_it_calls_are_both_kept() -> None:
    inner = "def add_up(numbers):\n    return sum(numbers)"
    continuation = f"    return add_up(numbers)\n\n\n{inner}"
    assert program_passes(candidate(continuation, "reply", TASK), TASK)


@pytest.mark.parametrize(
    "reply",
    [
        "<answer>I cannot help</answer>", "<think>Hm.</think>", "<think>\nHm", "- one\n- two\n+ three", "> I cannot",
        "1. Add\n2. Return the sum", "It’s “impossible” &amp; wrong", "[BEGIN]\n[DONE]", "\x1b[1mSorry\x1b[0m",
        "<|im_end|>", "Use `sum`.", "Use the `def total(...)` above.",
    ],
)  # fmt: skip
def test_prose_in_any_format_is_not_code(reply: str) -> None:
    assert candidate(reply, "reply", TASK, any_name=True) == Candidate("", "no code in the reply", Outcome.EMPTY)


BASE = Task("Pro/0", "# Double a number.\ndef double(x):\n", Suite("double_all", "assert double_all([1, 2]) == [2, 4]"))
BOTH = "    return 2 * x\n\n# Every number.\ndef double_all(xs):\n    return [double(x) for x in xs]\n"


@pytest.mark.parametrize(
    "reply",
    [
        BOTH,
        f"\n{BOTH}```\nIt works.",
        f"{BOTH}\nprint(double_all([3]))\nassert double_all([1]) == [3]\n",
        "```python\n" + BASE.prompt + BOTH + "```",
        "```python\ndef double(x):\n    return x + x\n```\nand\n```python\ndef double_all(xs):\n"
        "    return [double(x) for x in xs]\n```",
    ],
)
def test_a_reply_to_a_self_invoking_task_keeps_both_functions(reply: str) -> None:
    assert program_passes(candidate(reply, "reply", BASE), BASE)


def test_a_reply_without_the_requested_function_does_not_pass_by_its_base() -> None:
    assert not program_passes_or_raises(candidate("    return 2 * x\n", "reply", BASE))


def program_passes_or_raises(found: Candidate) -> bool:
    try:
        return program_passes(found, BASE)
    except NameError:
        return False
