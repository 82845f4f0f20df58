"""Adversarial text: extraction from a megabyte of any kind takes less than a second of CPU time."""

import pytest

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Form
from tests.support.speed import cpu_seconds
from tests.support.wrappings import TASK

MILLION = 1_000_000
LONG = 19_900  # just below the limit of what is read from the start of a reply
HOSTILE = {
    "statements": "x=1\n", "fences": "```\n", "ticks": "`", "brackets": "(", "quotes": '"""', "headers": "def f():\n",
    "broken bodies": "    x = [1, 2, 3\n", "tags": "<think>", "margins": "    a b\n\nb c\n\n",
    "broken definitions": "```python\ndef total(a):\n    return (\n```\nprose\n\n    x = 1\n\n",
    "future imports": "from __future__ import (\n", "spaces": " " * LONG + "x\n",
    "spaces behind a fence": "```" + " " * LONG + "`\n", "spaces before a fence": " " * LONG + "x```\n",
    "escaped quotes": '\\"', "escaped apostrophes": "\\'", "both triple quotes": "'''\"\"\"",
    "open strings": "x = 'a\n", "answer tags": "<answer>", "lines of answer tags": "<answer>\n",
    "closed tags": "</answer>\n[DONE]\n", "fences in tags": "<answer>```python\n",
    "colons before tags": "a: <", "thoughts": "<think>a</think>",
    "entities": "&lt;", "entities in code": "    x &lt; 1\n", "colours": "\x1b[1m", "open colours": "\x1b[",
    "other spaces": "\u00a0\u00a0\u00a0\u00a0return x\n", "end tokens": "<|im_end|>", "line ends": "\r",
    "numbered lines": "1 def f():\n", "changed lines": "+def f(a):\n+    return “a”\n", "a diff": "+\n-\n",
    "prompts": ">>> def f():\n... \n", "quoted lines": "> def total(a):\n>  return\n",
    "definitions in prose": "! def total(a: ", "curly quotes": "def total(a):\n    return “a”\n\n",
    "deep nesting": "".join(" " * depth + "if x:\n" for depth in range(99)),
    "classes": "class S:\n  def total(self): 1\n",
    "nested classes": "".join(" " * depth + "class A:\n" for depth in range(90)),
    "branches": "if 1: pass\n" + "elif x: pass\n" * 2000, "tabs": "\tx\n", "only tabs": "\t", "decorators": "@a\n",
    "semicolons": "a;", "continued lines": "\\\n", "powers": "9**", "lambdas": "lambda:", "formats": "f'{",
    "negations": "not ", "attributes": "a.b", "comments": "#x\n", "lists": "1. ", "dashes": "- ", "words": "_",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_costs_less_than_a_second(name: str) -> None:
    text = HOSTILE[name] * (MILLION // len(HOSTILE[name]))
    forms: tuple[Form, ...] = ("reply", "completion", "solution")
    for form in forms:
        assert seconds_for(text, form) < 1.0, form


@pytest.mark.slow
@pytest.mark.parametrize("start", ["```python\n", "<answer>\n", "def total(a):\n", "    x = 1\n"])
def test_a_hostile_end_of_a_harmless_beginning_costs_no_more(start: str) -> None:
    for name in ("tabs", "semicolons", "a diff", "broken definitions", "decorators"):
        assert seconds_for(start + HOSTILE[name] * (MILLION // len(HOSTILE[name])), "reply") < 1.0, name


@pytest.mark.slow
def test_black_is_given_only_what_it_formats_in_time() -> None:
    line = "    x = {'a': [1, 2, (3,4)], 'b' : f( x,y , z=1)}\n"
    for repeats in (200, 400, 2000):
        assert seconds_for("def total(numbers):\n" + line * repeats, "solution", use_black=True) < 1.0, repeats


def seconds_for(text: str, form: Form, use_black: bool = False) -> float:
    """CPU seconds of an extraction."""
    return cpu_seconds(lambda: candidate(text, form, TASK, use_black), limit_s=1.0)
