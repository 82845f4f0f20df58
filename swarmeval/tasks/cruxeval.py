"""Converts rows of CRUXEval (arXiv 2401.03065): a short function, one input and its output, and which one is asked for.

Prompts are the direct ones of the published harness (facebookresearch/cruxeval, prompts.py), with two examples.
"""

import msgspec

from swarmeval.records import Suite, Task
from swarmeval.tasks.datasets import Dataset
from swarmeval.tasks.forms import rows_as

REPO, FILE = "cruxeval-org/cruxeval", "test.jsonl"
STOPS = ("[/ANSWER]",)
# The program returns the answer of the model, an expression, from a function without arguments. Extraction takes only a
# call of f where the prompt defines f, so that the output itself is not an answer.
HEAD, ENDING = "def answer():\n    return (", "\n)\n"
TESTS = "def check(candidate):\n    assert candidate() == {output}\n\ncheck(answer)\n"

INPUT_PROMPT = """\
You will be given a function f and an output in the form f(??) == output. Find any input such that executing f on the \
input leads to the given output. There may be multiple answers, but you should only output one. In [ANSWER] and \
[/ANSWER] tags, complete the assertion with one such input that will produce the output when executing the function.

[PYTHON]
def f(my_list):
    count = 0
    for i in my_list:
        if len(i) % 2 == 0:
            count += 1
    return count
assert f(??) == 3
[/PYTHON]
[ANSWER]
assert f(["mq", "px", "zy"]) == 3
[/ANSWER]

[PYTHON]
def f(s1, s2):
    return s1 + s2
assert f(??) == "banana"
[/PYTHON]
[ANSWER]
assert f("ba", "nana") == "banana"
[/ANSWER]

[PYTHON]
{code}
assert f(??) == {output}
[/PYTHON]
[ANSWER]
"""

OUTPUT_PROMPT = """\
You are given a Python function and an assertion containing an input to the function. Complete the assertion with a \
literal (no unsimplified expressions, no function calls) containing the output when executing the provided code on the \
given input, even if the function is incorrect or incomplete. Do NOT output any extra information. Provide the full \
assertion with the correct output in [ANSWER] and [/ANSWER] tags, following the examples.

[PYTHON]
def f(n):
    return n
assert f(17) == ??
[/PYTHON]
[ANSWER]
assert f(17) == 17
[/ANSWER]

[PYTHON]
def f(s):
    return s + "a"
assert f("x9j") == ??
[/PYTHON]
[ANSWER]
assert f("x9j") == "x9ja"
[/ANSWER]

[PYTHON]
{code}
assert f({input}) == ??
[/PYTHON]
[ANSWER]
"""


class CRUXRow(msgspec.Struct):
    """A row of cruxeval-org/cruxeval."""

    id: str
    code: str  # defines f
    input: str  # source of the arguments of f
    output: str  # source of its return value


class InputPrediction:
    """CRUXEval-I: the model finds arguments for which the function returns the given output."""

    def tasks(self, dataset: Dataset) -> list[Task]:
        return [self._task(row) for row in rows_as(CRUXRow, dataset)]

    def _task(self, row: CRUXRow) -> Task:
        asked = INPUT_PROMPT.format(code=row.code, output=row.output)
        return _task(row, asked, f"{row.code}\n\n\n{HEAD}", f"f({row.input})")


class OutputPrediction:
    """CRUXEval-O: the model finds the return value for the given arguments. The program does not contain f."""

    def tasks(self, dataset: Dataset) -> list[Task]:
        return [self._task(row) for row in rows_as(CRUXRow, dataset)]

    def _task(self, row: CRUXRow) -> Task:
        asked = OUTPUT_PROMPT.format(code=row.code, input=row.input)
        return _task(row, asked, HEAD, row.output)


def _task(row: CRUXRow, asked: str, prompt: str, reference: str) -> Task:
    return Task(
        row.id,
        prompt,
        Suite("answer", TESTS.format(output=row.output)),
        question=asked,
        preamble=asked,
        reference=reference,
        answer="expression",
        ending=ENDING,
        stops=STOPS,
    )
