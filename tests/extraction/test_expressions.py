"""Tasks that ask for one expression: it is found in every form of an answer, and can do nothing else."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Candidate, Outcome, Suite, Task

HEAD, ENDING = "def answer():\n    return (", "\n)\n"
CODE = "limit = 9\n\ndef f(x, y=0):\n    return [x, y, limit]"
SUITE = Suite("answer", "def check(candidate):\n    assert candidate() == [1, 2, 9]\n\ncheck(answer)\n")
CALL = Task("Toy/I", f"{CODE}\n\n\n{HEAD}", SUITE, answer="expression", ending=ENDING)
LITERAL = Task("Toy/O", HEAD, SUITE, answer="expression", ending=ENDING)

FORMS = [
    "{answer}", "{assertion}", " {answer} \n", "[ANSWER]\n{assertion}\n[/ANSWER]", "[ANSWER]{answer}[/ANSWER]",
    "{assertion}\n[/ANSWER]\n\n[PYTHON]\ndef f(n):\n    return n\nassert f(1) == 2\n[/PYTHON]",
    "Step by step, f(1) is [3].\n\n[ANSWER]\n{assertion}\n[/ANSWER]\nThat is it.",
    "Put it in [ANSWER] and [/ANSWER] tags:\n[ANSWER]\n{answer}\n[/ANSWER]",
    "First `assert f(7) == 7` fails.\n{assertion}", "So:\n```python\n{assertion}\n```\nDone.", "```\n{answer}\n```",
    "```python\nx = 1\n{assertion}\n```", "The answer is `{answer}`.", "The answer is: {answer}", "Well.\n\n{answer}",
    "<think>\nassert f(0) == [0]\n</think>\n{assertion}", "{assertion}  # as asked", "**Answer:** `{answer}`",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("task", [CALL, LITERAL], ids=["call", "literal"])
def test_an_answer_is_found_in_every_form(form: str, task: Task) -> None:
    answer = "f(1, y=2)" if task is CALL else "[1, 2, 9]"
    text = form.format(answer=answer, assertion="assert f(1, y=2) == [1, 2, 9]")
    assert candidate(text, "reply", task).code == answer


def test_a_prompt_may_end_at_the_equals_sign() -> None:
    for text in (" [1, 2, 9]\n", "== [1, 2, 9] # done", "[1, 2, 9] # done\n\ndef g(x):\n    return x"):
        assert candidate(text, "completion", LITERAL).code == "[1, 2, 9]"


def test_an_expression_over_lines_becomes_one_line() -> None:
    assert candidate("```\n[1,  # one\n 2,\n '''a\nb''']\n```", "reply", LITERAL).code == "[1, 2, 'a\\nb']"


@pytest.mark.parametrize(
    "source",
    [
        "-1", "'a' 'b'", "{1, 2}", "set()", "{}", "{'a': (1, [None, True])}", "-1.5e9", "1 - 2j", "b'x'", "...",
    ],
)  # fmt: skip
def test_a_literal_is_an_output(source: str) -> None:
    found = candidate(source, "reply", LITERAL)
    assert found.outcome is None
    assert ast.dump(ast.parse(found.code)) == ast.dump(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "f(1)", "[f(1)]", "[1] * 3", "(lambda: 1)()", "f'{1}'", "[*'ab']", "x", "not 1", "[1][0]", "{**{}}", "list()",
        "1 if 1 else 2", "[x for x in 'a']", "__import__('os')", "(x := 1)",
    ],
)  # fmt: skip
def test_code_that_computes_is_no_output(source: str) -> None:
    assert candidate(source, "reply", LITERAL) == Candidate(source, "the answer is not a literal", Outcome.BAD_SYNTAX)


@pytest.mark.parametrize("form", ["{}", "[ANSWER]\n{}\n[/ANSWER]", "So:\n```python\n{}\n```", "The answer is:\n\n{}"])
def test_an_assertion_without_an_equation_is_no_output(form: str) -> None:
    for literal in ("True", "1"):
        found = candidate(form.format(f"assert {literal}"), "reply", LITERAL)
        assert (found.outcome, found.error) == (Outcome.BAD_SYNTAX, "the answer is not a literal")
        assert candidate(form.format(literal), "reply", LITERAL).code == literal
        assert candidate(form.format(f"assert f(1) == {literal}"), "reply", LITERAL).code == literal
    assert candidate(form.format("assert f(1)"), "reply", CALL).code == "f(1)"


@pytest.mark.parametrize(
    "source",
    [
        "f(1)", "f(-1, y='a')", "f()", "f(*[1, 2])", "f(''.join(['A'] * 20))", "f(limit)", "f(dict(a=1), range(3))",
        "f([1], lambda x: x < 2)", "f('a b'.split(), [c for c in 'ab'])", "f('a'.upper()[:1], {} or None)",
    ],
)  # fmt: skip
def test_a_call_with_harmless_arguments_is_an_input(source: str) -> None:
    found = candidate(source, "reply", CALL)
    assert found.outcome is None
    assert ast.dump(ast.parse(found.code)) == ast.dump(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "1", "g(1)", "f", "f(f(1))", "f(lambda: f)", "f((f := 1))", "f(setattr(f, 'x', 1))", "f(globals())",
        "f(answer)",
        "f(().__class__)", "f([].__init__)", "f((x for x in 'a').gi_frame)", "f(exec('f = 1'))", "f(1) or 2",
        "[f(1)]", "f(type('X', (), {})())", "f(1)[0]", "f(open('a'))", "f(1).x", "f(x)", "f(**globals())", "f(f'{f}')",
    ],
)  # fmt: skip
def test_an_argument_that_can_reach_the_function_is_refused(source: str) -> None:
    found = candidate(source, "reply", CALL)
    assert found == Candidate(source, "the answer is not a call of f with plain arguments", Outcome.BAD_SYNTAX)


@pytest.mark.parametrize(
    "text",
    [
        "f(1))\nglobals().update(f=1)\n(f(1)", "1)\nx = (1", "1; import os", "import os", "f(1)\nf(2)\n#)",
        "[ANSWER]f(1)) or (2[/ANSWER]", "lambda: 1", "assert f(1) == f(2)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("task", [CALL, LITERAL], ids=["call", "literal"])
def test_no_answer_leaves_its_parentheses(text: str, task: Task) -> None:
    found = candidate(text, "reply", task)
    if found.outcome is None:
        body = ast.parse(task.prompt + found.code + task.ending).body
        assert len(body) == len(ast.parse(f"{task.prompt}0{task.ending}").body)
        assert found.code in ("f(1)", "f(2)", "1")


@pytest.mark.parametrize("text", ["I cannot say.", "Sorry!", " ", "It depends on x, doesn't it"])
def test_a_reply_without_an_expression_is_empty(text: str) -> None:
    found = candidate(text, "reply", LITERAL)
    assert (found.code, found.outcome) == ("", Outcome.EMPTY)


@pytest.mark.slow
@given(text=st.text(alphabet=st.sampled_from(list("f(1)[]{}'\"\\\n#:=,x `~ANSWER/.")), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_one_expression_or_an_outcome(text: str) -> None:
    for task in (CALL, LITERAL):
        found = candidate(text, "reply", task)
        if found.outcome is None:
            (statement,) = ast.parse(f"{HEAD}{found.code}{ENDING}").body
            assert isinstance(statement, ast.FunctionDef)
            assert "\n" not in found.code
