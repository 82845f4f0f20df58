"""Extraction: right answers survive every wrapping, refusals never become code, hostile text costs little."""

import ast
import textwrap
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.extraction import candidate
from bench.records import Candidate, Outcome, Suite, Task
from human_eval_runner import load_tasks, program

TASK = Task(
    "Toy/0",
    "from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n"
    '    """Add up.\n    >>> total([1])\n    1\n    """\n',
    Suite(
        "total",
        "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n\ncheck(total)",
    ),
)
BODY = "    result = 0\n    for number in numbers:\n        result += number\n    return result\n"
WHOLE = TASK.prompt + BODY


RIGHT = "def total(numbers):\n    return sum(numbers)"


def fence(code: str, tag: str = "python") -> str:
    return f"```{tag}\n{code}\n```"


def program_passes(found: Candidate, task: Task) -> bool:
    """Whether the candidate's program runs to its end, here in this process: for our own harmless texts only."""
    if found.outcome is not None:
        return False
    try:
        exec(compile(program(task, found.completion).text, "<candidate>", "exec"), {})
    except AssertionError:
        return False
    return True


def thought(task: Task) -> str:
    return fence(f"def {task.entry_point}(*a):\n    return 1") + "\n</think>\n"


Wrap = Callable[[Task, str], str]
WRAPPINGS: dict[str, Wrap] = {
    "body": lambda task, body: body,
    "body after a line end": lambda task, body: "\n" + body,
    "body at the margin": lambda task, body: textwrap.dedent(body),
    "body whose first line lost its indentation": lambda task, body: body.lstrip(),
    "body in a fence": lambda task, body: "The body (it works):\n\n" + fence(body) + "\n\nHope this helps!",
    "body with tabs": lambda task, body: body.replace("    ", "\t"),
    "whole function": lambda task, body: task.prompt + body,
    "fence": lambda task, body: fence(task.prompt + body),
    "fence without a tag": lambda task, body: fence(task.prompt + body, ""),
    "tilde fence": lambda task, body: f"~~~py\n{task.prompt}{body}\n~~~",
    "fence behind prose": lambda task, body: f"Here: ```python\n{task.prompt}{body}\n```",
    "fence in a list": lambda task, body: "1. Code:\n" + textwrap.indent(fence(task.prompt + body), "   "),
    "unclosed fence": lambda task, body: "Sure!\n```python\n" + task.prompt + body,
    "prose around": lambda task, body: (
        f"Here is what you're after:\n\n{task.prompt}{body}\n\nIt works (I think.\nNote: it's O(n).\n"
    ),
    "markdown indentation": lambda task, body: (
        "The solution:\n\n" + textwrap.indent(task.prompt + body, "    ") + "\n\nDone."
    ),
    "several fences": lambda task, body: "\n".join([
        "First:", fence("x = [1, 2]\nprint(x)"), "Then", fence(task.prompt + body),
        "Usage:", fence(f"result = {task.entry_point}(input())\nprint(result)"),
        "Tests:", fence(f"import pytest\ndef test_it():\n    assert {task.entry_point}() == 3\ntest_it()"),
    ]),
    "usage below": lambda task, body: fence(
        f"{task.prompt}{body}\n\nassert {task.entry_point}('q') == 0\nprint({task.entry_point}(1))\n"
        f"r = {task.entry_point}(input())\nfor i in range(3):\n    print({task.entry_point}(i))\n"
        "if __name__ == '__main__':\n    main()"
    ),
    "stub first": lambda task, body: fence(f"def {task.entry_point}(*a):\n    pass") + "\n" + fence(task.prompt + body),
    "stub last": lambda task, body: fence(task.prompt + body) + "\n" + fence(f"def {task.entry_point}(*a):\n    ..."),
    "CRLF": lambda task, body: fence(task.prompt + body).replace("\n", "\r\n"),
    "byte-order mark": lambda task, body: "\ufeff" + task.prompt + body,
    "non-breaking spaces": lambda task, body: fence(task.prompt + body).replace("    ", "\u00a0" * 4),
    "thoughts": lambda task, body: (
        f"<think>\n{thought(task)}" + fence(task.prompt + body)
    ),
    "thoughts opened by the template": lambda task, body: (
        thought(task) + fence(task.prompt + body)
    ),
    "unclosed thoughts": lambda task, body: "<think>\nI try " + fence(task.prompt + body),
    "future import": lambda task, body: fence("from __future__ import annotations\nimport math\n" + task.prompt + body),
    "continuation, then prose": lambda task, body: body + "\n\nThis is the explanation (of it.\n\nIt's fine",
    "continuation, then a definition": lambda task, body: (
        body + f"\n\ndef main():\n    print({task.entry_point}(3))\n\nmain()\n"
    ),
    "continuation, then itself again": lambda task, body: body + f"\n\ndef {task.entry_point}(*a):\n    return 'zz'\n",
    "continuation, then tests": lambda task, body: body + f"\n# tests\nassert {task.entry_point}(3) == 4\n",
    "continuation, then a fence": lambda task, body: (
        body + f"```\n\nThat is:\n\n```python\nprint({task.entry_point}(3))\n```"
    ),
    "continuation, cut": lambda task, body: body + "\n\ndef other(x):\n    if x in (1,",
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPINGS)
def test_a_right_answer_survives(name: str) -> None:
    assert program_passes(candidate(WRAPPINGS[name](TASK, BODY), "reply", TASK), TASK)


@cache
def canonical() -> list[tuple[Task, str]]:
    return [(task, task.reference) for task in load_tasks()]


def same_code(found: Candidate, task: Task, body: str) -> bool:
    """Whether the entry point's last definition is the canonical one, whatever else the candidate holds."""

    def last_definition(source: str) -> str:
        nodes = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == task.entry_point]
        nodes[-1].body = [statement for statement in nodes[-1].body if not isinstance(statement, ast.Expr)]  # docstring
        return ast.dump(nodes[-1])

    return found.outcome is None and last_definition(task.prompt + found.completion) == last_definition(
        task.prompt + body
    )


@pytest.mark.slow
@given(index=st.integers(0, 163), name=st.sampled_from(list(WRAPPINGS)))
@settings(max_examples=30, deadline=None)
def test_canonical_solutions_survive_any_wrapping(index: int, name: str) -> None:
    task, body = canonical()[index]
    assert_survives(name, task, body)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRAPPINGS)
def test_all_canonical_solutions_survive(name: str) -> None:
    for task, body in canonical():
        assert_survives(name, task, body)


def assert_survives(name: str, task: Task, body: str) -> None:
    found = candidate(WRAPPINGS[name](task, body), "reply", task)
    if name == "non-breaking spaces":  # they are repaired inside strings too
        assert found.outcome is None
    else:
        assert same_code(found, task, body), (task.task_id, found)


@pytest.mark.slow
@given(text=st.text(max_size=300), name=st.sampled_from(["text", "fence", "indented"]))
@settings(max_examples=60, deadline=None)
def test_any_text_gives_a_candidate_whose_program_parses_or_an_outcome(text: str, name: str) -> None:
    reply = {"text": text, "fence": fence(text), "indented": textwrap.indent(text, "    ")}[name]
    found = candidate(reply, "reply", TASK)
    assert found == candidate(reply, "reply", TASK)
    if found.outcome is None:
        ast.parse(TASK.prompt + found.completion)
    else:
        assert found.error


HELPED = "import math\n\n\n{above}def total(numbers):\n    return add_all(numbers)\n{below}"
HELPER = "\n\ndef add_all(numbers):\n    global seen\n    seen = sum(numbers)\n    return math.floor(seen)\n\n\n"
DECORATED = """from functools import lru_cache

LIMIT = 10


@lru_cache(None)
def add(a, b):
    return a + b if a < LIMIT else 0


def total(numbers):
    result = 0
    for number in numbers:
        result = add(result, number)
    return result
"""


@pytest.mark.parametrize(
    "reply",
    [
        HELPED.format(above=HELPER, below=""),
        HELPED.format(above="", below=HELPER),
        fence("import math" + HELPER) + "\nand then\n" + fence("def total(numbers):\n    return add_all(numbers)"),
        "    return add_all(numbers)\n\n\n" + HELPER.replace("math.floor", "int"),
        fence(DECORATED),
        fence("total = lambda numbers: sum(numbers)"),
        fence("def wrong(numbers):\n    return sum(numbers)\n\n\ntotal = wrong"),
        fence("def total(numbers):\n    # a comment\n# at the margin\n    return sum(numbers)"),
        fence('def total(numbers):\n    """\n    ```\n    total([1])\n    ```\n    """\n    return sum(numbers)'),
    ],
)  # fmt: skip
def test_helpers_imports_and_decorators_stay(reply: str) -> None:
    assert program_passes(candidate(reply, "reply", TASK), TASK)


def test_the_last_complete_definition_wins() -> None:
    right, wrong = (f"def total(numbers):\n    return {value}" for value in ("sum(numbers)", "0"))
    assert program_passes(candidate(fence(wrong) + "\nBetter:\n" + fence(right), "reply", TASK), TASK)
    assert not program_passes(candidate(fence(right) + "\nBetter:\n" + fence(wrong), "reply", TASK), TASK)
    assert program_passes(candidate(f"{wrong}\n\n\n{right}", "reply", TASK), TASK)


@pytest.mark.parametrize("broken", ["    return sum(numbers)\n    this is no Python\n", "    return sum(numbers))\n"])
def test_a_definition_broken_inside_a_closed_fence_is_not_mended_by_cutting_it(broken: str) -> None:
    for text in (
        f"```python\ndef total(numbers):\n{broken}```\n",
        f"```python\ndef total(numbers):\n{broken}\ndef other():\n    return 1\n```",
    ):
        found = candidate(text, "reply", TASK)
        assert found.outcome is Outcome.BAD_SYNTAX
        assert found.error is not None
        assert broken.rstrip() in found.completion


def test_a_truncated_reply_keeps_the_longest_prefix_that_parses() -> None:
    found = candidate("```python\ndef total(numbers):\n    x = 1\n    if x:\n        y = (numbers", "reply", TASK)
    assert found.completion == "\ndef total(numbers):\n    x = 1"
    assert found.note == "fence, truncated"


@pytest.mark.parametrize(
    "tail",
    ["\n\ndef main():\n    ", "\n\ndef main(operations", '\n\ndef main():\n    """ Runs the', "\n\nclass Te", "\n\n@"],
)
@pytest.mark.parametrize("opening", ["```python\n", "", "Sure:\n\n```\n"])
def test_a_reply_cut_in_the_head_of_a_later_definition_keeps_the_answer(tail: str, opening: str) -> None:
    assert program_passes(candidate(f"{opening}{WHOLE}{tail}", "reply", TASK), TASK)


def test_a_multi_line_string_keeps_its_margin() -> None:
    found = candidate('x = """\n  two\nnone"""\nreturn x', "reply", TASK)
    assert found.completion == '    x = """\n  two\nnone"""\n    return x\n'


@pytest.mark.parametrize(
    "reply",
    [
        "\n    return len((num - 1) * (threshold + 1)) == len(list(map(lambda x, y)))",
        "    for x in numbers\n        print(x)",
        "\n    result = [x for x in",
        "    numbers[0] = (",
    ],
)
def test_a_continuation_that_does_not_parse_is_bad_syntax_and_not_empty(reply: str) -> None:
    assert candidate(reply, "reply", TASK).outcome is Outcome.BAD_SYNTAX


@pytest.mark.parametrize(
    "reply",
    ["I cannot help", "Sorry, I can't.", "Sorry", "    I cannot help", "return the sum: 3", "1. Add\n2. Return"],
)
def test_a_refusal_holds_no_code(reply: str) -> None:
    assert candidate(reply, "reply", TASK) == Candidate("", "no code in the reply", Outcome.EMPTY)


def test_an_empty_reply_is_empty_in_every_form() -> None:
    for form in ("reply", "completion", "solution"):
        assert candidate(" \n", form, TASK) == Candidate("", "the reply is empty", Outcome.EMPTY)


def test_broken_code_keeps_its_error_and_line() -> None:
    found = candidate(fence("def total(numbers:\n    return 1"), "reply", TASK)
    assert found.outcome is Outcome.BAD_SYNTAX
    assert found.error == "line 10: '(' was never closed: 'def total(numbers:'"


def test_a_completion_is_taken_as_it_is() -> None:
    assert candidate(BODY, "completion", TASK) == Candidate(BODY, note="as given")
    found = candidate("I cannot help", "completion", TASK)
    assert (found.completion, found.outcome) == ("I cannot help", Outcome.BAD_SYNTAX)


def test_a_solution_is_a_whole_program_behind_the_prompt() -> None:
    assert candidate(WHOLE, "solution", TASK) == Candidate("\n" + WHOLE, note="whole program")
    assert candidate("def total(", "solution", TASK).outcome is Outcome.BAD_SYNTAX


@pytest.mark.parametrize("code", ["x = 1\0", "x = '\ud800'", "x = " + "(" * 500, "x = " + "-" * 50_000 + "1"])
def test_what_the_parser_chokes_on_is_bad_syntax(code: str) -> None:
    assert candidate(code, "solution", TASK).outcome is Outcome.BAD_SYNTAX


def test_warnings_of_the_judged_code_stay_silent() -> None:
    assert candidate("def total(numbers):\n    '\\d'\n    return sum(numbers)", "solution", TASK).error is None
