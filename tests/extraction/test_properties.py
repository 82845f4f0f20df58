"""Properties of every extraction: it adds nothing, loses no correct code, and is idempotent."""

import ast
import re
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.doctor.mutants import mutant
from swarmeval.extraction.candidate import candidate
from swarmeval.records import Candidate, Outcome, Task
from tests.support.wrappings import REBUILT, TASK, WRAPPINGS, canonical, fence, in_class, program_passes, same_code

NAMES = sorted(WRAPPINGS)
WRONG = {
    "constant": "    return 0\n",
    "returns nothing": "    result = 0\n    for number in numbers:\n        result += number\n",
    "unbalanced": "    return sum(numbers))\n",
    "no colon": "    for number in numbers\n        return sum(numbers)\n    return sum(numbers)\n",
    "unknown name": "    return add_up(numbers)\n",
    "no code": "    I would add the numbers up.\n",
    "cut": "    return sum(numbers",
}


@pytest.mark.slow
@given(text=st.text(max_size=300), name=st.sampled_from(["text", "fence", "indented"]))
@settings(max_examples=60, deadline=None)
def test_any_text_gives_a_candidate_whose_program_parses_or_an_outcome(text: str, name: str) -> None:
    reply = {"text": text, "fence": fence(text), "indented": textwrap.indent(text, "    ")}[name]
    found = candidate(reply, "reply", TASK)
    assert found == candidate(reply, "reply", TASK)
    if found.outcome is None:
        ast.parse(TASK.prompt + found.code)
    else:
        assert found.error


def mutant_body(task: Task, body: str) -> str:
    tree = ast.parse(mutant(task, body))
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == task.entry_point)
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return textwrap.indent("\n".join(ast.unparse(statement) for statement in statements), "    ") + "\n"


@pytest.mark.slow
@given(index=st.integers(0, 163), name=st.sampled_from(NAMES))
@settings(max_examples=60, deadline=None)
def test_a_wrong_program_stays_the_wrong_program_that_it_is(index: int, name: str) -> None:
    task, body = canonical()[index]
    wrong = mutant_body(task, body)
    found = candidate(WRAPPINGS[name](task, wrong), "reply", task, any_name=True)
    kept = '    note = "it\'s"\n' + wrong if name == "body with curly quotes" else wrong
    assert same_code(found, task, kept), found


@pytest.mark.slow
@pytest.mark.parametrize("body", WRONG)
def test_no_wrapping_makes_a_wrong_answer_pass(body: str) -> None:
    for name, wrap in (WRAPPINGS | REBUILT).items():
        found = candidate(wrap(TASK, WRONG[body]), "reply", TASK, any_name=True)
        assert not program_passes(found, TASK), (name, found)


ALIAS = re.compile(r"(\w+) = \w+\(\)\.\1")


def added_lines(found: Candidate, reply: str, task: Task, body: str) -> list[str]:
    """Lines of the candidate that occur neither in the reply nor in the original code that the reply garbled."""
    given = "\n".join([reply, task.prompt, body, "assert \"it's\" and 'x'", 'note = "it\'s"'])
    return [line for line in found.code.split("\n") if line.strip() not in given]


@pytest.mark.slow
@given(index=st.integers(0, 163), name=st.sampled_from(sorted(WRAPPINGS | REBUILT)), data=st.data())
@settings(max_examples=100, deadline=None)
def test_every_line_of_a_candidate_stands_in_the_reply(index: int, name: str, data: st.DataObject) -> None:
    task, body = canonical()[index]
    lines = body.split("\n")
    place = data.draw(st.integers(0, len(lines) - 1))
    lines[place] = data.draw(st.sampled_from(["", lines[place][:-1], lines[place] + ")", "    x ="]))
    reply = (WRAPPINGS | REBUILT)[name](task, "\n".join(lines))
    added = added_lines(candidate(reply, "reply", task), reply, task, "\n".join(lines))
    assert added == [] or (len(added) == 1 and ALIAS.fullmatch(added[0]) is not None), added


def test_the_alias_of_a_method_is_the_only_line_that_is_added() -> None:
    reply = fence(in_class(TASK, "    return sum(numbers)\n"))
    found = candidate(reply, "reply", TASK)
    assert added_lines(found, reply, TASK, "") == ["total = Solution().total"]
    assert found.note == "fence, total = Solution().total"


def statements(program: str) -> list[str]:
    return [ast.dump(node) for node in ast.parse(program).body]


@pytest.mark.slow
@given(index=st.integers(0, 163), name=st.sampled_from(sorted(WRAPPINGS | REBUILT)))
@settings(max_examples=60, deadline=None)
def test_extracting_from_what_was_extracted_changes_nothing(index: int, name: str) -> None:
    task, body = canonical()[index]
    found = candidate((WRAPPINGS | REBUILT)[name](task, body), "reply", task)
    program = task.prompt + found.code if found.code.startswith(" ") else found.code
    again = candidate(fence(program), "reply", task)
    assert statements(again.code) == statements(program)
    assert candidate(fence(again.code), "reply", task).code.strip() == again.code.strip()


@pytest.mark.slow
@given(index=st.integers(0, 163), share=st.floats(0, 1), fenced=st.booleans())
@settings(max_examples=100, deadline=None)
def test_of_a_truncated_reply_a_beginning_is_kept_and_marked_so(index: int, share: float, fenced: bool) -> None:
    task, body = canonical()[index]
    whole = task.prompt + body if fenced else body
    code = whole[: int(len(whole) * share)]
    found = candidate(f"```python\n{code}" if fenced else code, "reply", task)
    if found.outcome is not None:
        assert found.outcome in (Outcome.BAD_SYNTAX, Outcome.EMPTY)
    elif not found.note.endswith("is not defined"):  # only helpers remained
        given, kept = written(code), written(found.code)
        assert given[: len(kept)] == kept
        assert found.note.endswith(", truncated") or "".join(code.split()) == "".join(found.code.split())


def written(code: str) -> list[str]:
    """The non-blank lines without indentation."""
    return [line.strip() for line in code.split("\n") if line.strip()]


ODD = (
    "def total(numbers):\n    '''  doc\\\n   string  '''\n    return sum( numbers )",
    "def total(numbers):\n\tif numbers: return sum(numbers)\n\telse: return 0x0L",
    "def total(numbers): return(sum(numbers)); x=1",
    "def total(numbers):\n    return sum(  # fmt: off\n  n for n in numbers)\n\f\n\n",
    'x = u\'a\' \'b\' """c"""\ndef total(numbers):\n    del (numbers), (x)\n    return (yield)',
    "def total(numbers):\n    match = {**{}}\n    print(* numbers, sep = '\\N{DIGIT ONE}')\n    return not(numbers)",
)


@pytest.mark.slow
@given(index=st.integers(0, 163), name=st.sampled_from(sorted(WRAPPINGS | REBUILT)), odd=st.sampled_from(("", *ODD)))
@settings(max_examples=40, deadline=None)
def test_black_never_changes_a_program(index: int, name: str, odd: str) -> None:
    task, body = canonical()[index]
    reply = odd or (WRAPPINGS | REBUILT)[name](task, body)
    task = TASK if odd else task
    plain, styled = (candidate(reply, "reply", task, use_black=use) for use in (False, True))
    assert plain.outcome == styled.outcome
    if plain.outcome is None:
        assert ast.dump(ast.parse(task.prompt + plain.code)) == ast.dump(ast.parse(task.prompt + styled.code))
