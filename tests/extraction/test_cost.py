"""Adversarial text: extraction from a megabyte of any kind takes less than a second of CPU time."""

from dataclasses import replace

import pytest

from swarmeval.executed import Executed
from swarmeval.extraction.candidate import candidate
from swarmeval.extraction.windows import READ_CHARS
from swarmeval.records import Form, Suite, Task
from tests.support.speed import cpu_seconds
from tests.support.translations import TRANSLATIONS
from tests.support.wrappings import TASK

MILLION = 1_000_000
ALL_READ = 3 * READ_CHARS  # of a long reply
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
    "named marks": "<eos>", "bracketed marks": "[EOS]",
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
    for chained in ("(b)", "[b]", "(\nb)", "**-1", " if b else a", "\\\n**-1"):
        code = f"def total(numbers):\n    return a{chained * (5_900 // len(chained))}\n"
        assert seconds_for(code, "solution", use_black=True) < 1.0, chained


# What is hard to scan in some language: open strings, comments, patterns and blocks, and heads of definitions.
HARD = {
    "patterns": "=/[a", "comments": "/*", "ends of comments": "*/ /*", "marks": " s/a qw( ", "long strings": "[=[",
    "raw strings": 'r#"', "heads": "total(x) {\n", "words": "x" * 599 + "\n", "calls": "total(", "blocks": "do\n= if\n",
    "braces": "{\n", "closing braces": "}\n", "ends": "end\n", "assignments": "total = 1\n", "loops": "while x x x\n",
    "functions": "function total() {\n}\n", "annotations": "#[a]\n@a\ntemplate<a>\n", "imports": 'import "a/b"\n',
    "chains": "".join(f"function f{n}(a) {{ f{n + 1}(total) }}\n" for n in range(2000)), "exports": "export class A\n",
    "answers": "[ANSWER]f(", "assertions": "assert f(1) ==\n", "inline code": "`a: ", "tags": "<?php ?>",
    "statements": "x=1\n", "fences": "```\n", "quotes": "'\"", "escapes": "\\`", "spaces": " " * 900 + "x\n",
    "a long word": "x" * LONG,
}  # fmt: skip
PROGRAM = Task("Toy/1", "", Suite("", ""), executed=Executed("python"), answer="program")
EXPRESSION = Task("Toy/2", "def f(x): pass\n\n\ndef answer():\n    return (", Suite("answer", ""), answer="expression")
OTHERS = {
    **{language: one.task(language) for language, one in TRANSLATIONS.items()},
    "program": PROGRAM,
    "program in C++": replace(PROGRAM, executed=Executed("cpp")),
    "class": replace(TASK, answer="program", ending="\n\ntotal = Solution().total\n"),
    "expression": replace(EXPRESSION, ending="\n)\n"),
    "infilling": replace(TASK, ending="    return numbers\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_of_answers_cost_no_more(name: str) -> None:
    """The texts are longer than all that is read of a reply. Longer ones only add what the tests above measure."""
    start = f"```{TRANSLATIONS[name].tag}\n{OTHERS[name].prompt}" if name in TRANSLATIONS else "```python\n"
    for kind, piece in HARD.items():
        assert seconds_for(start + piece * (ALL_READ // len(piece) + 1), "reply", task=OTHERS[name]) < 1.0, kind


def seconds_for(text: str, form: Form, use_black: bool = False, task: Task = TASK) -> float:
    """CPU seconds of an extraction."""
    return cpu_seconds(lambda: candidate(text, form, task, use_black), limit_s=1.0)
