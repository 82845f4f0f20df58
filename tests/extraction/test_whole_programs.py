"""Tasks that ask for a whole program: it is found among fences and prose, and nothing that it does is removed."""

import textwrap

import pytest

from swarmeval.executed import Case, Executed
from swarmeval.extraction.candidate import candidate
from swarmeval.records import Candidate, Form, Outcome, Suite, Task
from tests.support.wrappings import fence

IMPORTS = "import sys\nfrom math import *\n"
READS = "n = int(input())\nprint(2 * n)"
MAIN = "def main():\n    print(2 * int(input()))\n\n\nif __name__ == '__main__':\n    main()"
CPP = '#include <iostream>\nint main() {\n    int n;\n    std::cin >> n;\n    std::cout << 2 * n << "}";\n}'
ADAPTER = "\n\nif 'Solution' in globals():\n    twice = Solution().twice\n"
METHOD = "class Solution:\n    def twice(self, n: int) -> int:\n        return 2 * n"
CALLED = Task(
    "Toy/called", IMPORTS, Suite("twice", "def check(c):\n    assert c(2) == 4\n\ncheck(twice)"), answer="program",
    ending=ADAPTER,
)  # fmt: skip


def executed(language: str = "python", prompt: str = "") -> Task:
    return Task("Toy/executed", prompt, Suite("", ""), executed=Executed(language, (Case("2", "4"),)), answer="program")


def found(text: str, task: Task, form: Form = "reply") -> Candidate:
    return candidate(text, form, task)


@pytest.mark.parametrize("code", [READS, MAIN])
@pytest.mark.parametrize(
    "reply",
    [
        "{block}",
        "Sure.\n{block}\nIt doubles.",
        "For\n```\n2\n```\nthe output is\n```\n4\n```\n{block}\nInput:\n```\n3\n```",
        "The core is\n```python\nx = 2 * n\n```\nThe program:\n{block}",
        "{block}\nThe important line is\n```python\n2 * n\n```\n",
        "<think>\n```python\nprint(0)\n```\n</think>\n{block}",
        "{block}\nIn C++:\n```cpp\nint main() {{ return 0; }}\n```",
        "Draft:\n```python\ninput(\n```\n{block}",
        "{block}\nAgain, shorter:\n```python\nn = int(input())\nprint(2 *",
        "{code}",
        "Here is the program.\n\n{code}\n",
        " {code}",
    ],
)
def test_the_program_is_kept_whole(reply: str, code: str) -> None:
    one = found(reply.format(block=fence(code), code=code), executed())
    assert one.outcome is None
    assert one.code.strip() == code


def test_an_executed_candidate_has_the_code_of_the_prompt() -> None:
    task = executed(prompt=IMPORTS)
    for form, text in (("reply", fence(READS)), ("completion", READS), ("solution", READS)):
        one = candidate(text, form, task)  # type: ignore[arg-type]
        assert one.code.startswith(IMPORTS)
        assert one.code.split() == (IMPORTS + READS).split()


def test_a_future_import_is_left_out_behind_other_code() -> None:
    one = found(fence(f"from __future__ import annotations\n{READS}"), executed(prompt=IMPORTS))
    assert one.outcome is None
    assert "__future__" not in one.code


def test_an_executed_function_has_the_prompt_too() -> None:
    prompt = "import math\ndef twice(n):\n"
    task = Task("Toy/2", prompt, Suite("twice", "twice(1)"), executed=Executed("python"))
    assert found("    return 2 * n\n", task, "completion").code == prompt + "    return 2 * n\n"
    assert found(fence("def twice(n):\n    return 2 * n"), task).code.startswith(prompt)
    assert found("I cannot help.", task) == Candidate("", "no code in the reply", Outcome.EMPTY)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (fence("print(2 *\nn = 3"), "line 2: '(' was never closed: 'print(2 *'"),
        ("n = int(input()\nprint(n)", "line 2: '(' was never closed: 'n = int(input()'"),
    ],
)
def test_a_program_that_does_not_parse_is_bad_syntax(text: str, error: str) -> None:
    one = found(text, executed())
    assert (one.outcome, one.error) == (Outcome.BAD_SYNTAX, error)


@pytest.mark.parametrize("language", ["python", "cpp", "rust", "ruby"])
def test_a_reply_without_a_program_is_empty(language: str) -> None:
    for text in ("I cannot help with that.", "Sorry (really).", " \n", "It's 4; I think."):
        one = found(text, executed(language))
        assert (one.code, one.outcome) == ("", Outcome.EMPTY)


@pytest.mark.parametrize(
    "reply",
    [
        fence(CPP, "cpp"),
        f"It's easy:\n{fence(CPP, 'c++')}\nRun it:\n{fence('g++ a.cpp', 'bash')}",
        f"{fence(CPP, 'cpp')}\nThe main line:\n{fence('std::cout << 2 * n;', 'cpp')}",
        f"{fence('print(2)')}\n{fence(CPP, 'cpp')}",
        fence(CPP, ""),
        f"Here's the program.\n{CPP}",
    ],
)
def test_a_program_in_another_language_is_taken_by_its_tag(reply: str) -> None:
    assert found(reply, executed("cpp")).code.strip() == CPP


@pytest.mark.parametrize(
    ("language", "program", "usage"),
    [
        ("python", MAIN, "main()"),
        ("python", MAIN, "def example():\n    sys.stdin = open('input.txt')\n    main()"),
        ("python", "def solve():\n    print(2 * int(input()))\n\nsolve()", "print(input())\nsolve()"),
        ("javascript", "function main() {\n  const n = +require('fs').readFileSync(0);\n}\nmain();", "main();"),
        ("ruby", "def solve\n  puts 2 * gets.to_i\nend\nsolve()", "solve() # reads with gets"),
    ],
)
def test_a_block_that_only_uses_the_program_is_not_taken_for_it(language: str, program: str, usage: str) -> None:
    task = executed(language)
    assert found(f"{fence(program, language)}\nRun it:\n{fence(usage, language)}", task).code.strip() == program
    assert found(f"For example:\n{fence(usage, language)}\n{fence(program, language)}", task).code.strip() == program


def test_a_broken_definition_is_judged_rather_than_its_usage() -> None:
    broken = METHOD.replace("2 * n", "2 * (n")
    one = found(f"{fence(broken)}\n{fence('print(Solution().twice(2))')}", CALLED)
    assert (one.outcome, one.error) == (Outcome.BAD_SYNTAX, "line 6: '(' was never closed: 'return 2 * (n'")


def test_a_program_may_call_helpers_of_an_earlier_block() -> None:
    helper = fence("class Node:\n    value = 2")
    one = found(f"Given:\n{helper}\n{fence(METHOD.replace('n: int', 'n: int = Node().value'))}", CALLED)
    assert "class Solution" in one.code


def passes(one: Candidate) -> bool:
    exec(CALLED.prompt + one.code + CALLED.ending + CALLED.suite.text, {})
    return True


@pytest.mark.parametrize(
    "reply",
    [
        fence(METHOD),
        fence(f"from typing import List\n{METHOD}\n\n\nprint(Solution().twice(int(input())))"),
        fence(f"{METHOD}\n\n\nif __name__ == '__main__':\n    print(Solution().twice(int(input())))"),
        f"{fence(METHOD)}\nUsage:\n{fence('s = Solution()' + chr(10) + 'print(s.twice(int(input())))')}",
        f"{fence(METHOD)}\nThe idea:\n{fence('n = 2 * n')}",
        fence("def twice(n):\n    return 2 * n"),
        METHOD,
        f"Here it is.\n\n{METHOD}\n",
        f" {METHOD}",
        textwrap.indent(METHOD, "    "),
        f"Here it is.\n\n{textwrap.indent(METHOD, '    ')}\n\nIt's short.",
        f"\t{METHOD}\n\nIt doubles.",
        f"Answer: {METHOD}",
        f"1. The class:\n{textwrap.indent(fence(METHOD), '   ')}",
        f"{fence(METHOD)}\nUsage:\n{fence('twice = Solution().twice' + chr(10) + 'print(twice(2))')}",
    ],
)
def test_a_class_with_a_method_stays_without_its_usage(reply: str) -> None:
    one = found(reply, CALLED)
    assert one.outcome is None
    assert passes(one)


def test_code_behind_the_answer_is_parsed_with_it() -> None:
    assert found("class Solution:\n    x = (", CALLED, "completion").outcome is Outcome.BAD_SYNTAX
    assert passes(found(f"\n{METHOD}\n", CALLED, "completion"))
    assert passes(found(METHOD, CALLED, "solution"))
