"""Shapes of replies that models give. Each turns a task and the body of its function into a reply."""

import ast
import html
import textwrap
from collections.abc import Callable
from functools import cache

from human_eval_runner import load_tasks, program
from swarmeval.records import Candidate, Suite, Task

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


def fence(code: str, tag: str = "python") -> str:
    return f"```{tag}\n{code}\n```"


def program_passes(candidate: Candidate, task: Task) -> bool:
    """Whether the candidate's program completes in this process. For the tests' own harmless texts only."""
    if candidate.outcome is not None:
        return False
    try:
        exec(compile(program(task, candidate.code).text, "<candidate>", "exec"), {})
    except Exception:  # noqa: BLE001 (any exception means that it does not pass)
        return False
    return True


def same_code(candidate: Candidate, task: Task, body: str) -> bool:
    """Whether the entry point's last definition is the canonical one, regardless of other code in the candidate."""

    def last_definition(source: str) -> str:
        nodes = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == task.entry_point]
        nodes[-1].body = [statement for statement in nodes[-1].body if not isinstance(statement, ast.Expr)]  # docstring
        return ast.dump(nodes[-1])

    return candidate.outcome is None and last_definition(task.prompt + candidate.code) == last_definition(
        task.prompt + body
    )


@cache
def canonical() -> list[tuple[Task, str]]:
    return [(task, task.reference) for task in load_tasks()]


def thought(task: Task) -> str:
    return fence(f"def {task.entry_point}(*a):\n    return 1") + "\n</think>\n"


def draft(task: Task) -> str:
    return fence(f"def {task.entry_point}(*a):\n    return 'draft'")


def each_line(code: str, change: Callable[[int, str], str]) -> str:
    return "\n".join(change(number, line) for number, line in enumerate(code.rstrip("\n").split("\n"), 1))


def prompted(code: str) -> str:
    """The code as in an interpreter session."""
    return each_line(code, lambda n, line: (">>> " if line[:1].strip() or n == 1 else "... ") + line)


def coloured(code: str) -> str:
    for word in ("def", "return", "for", "if"):
        code = code.replace(f"{word} ", f"\x1b[1;34m{word}\x1b[0m ")
    return "\x1b[32m" + code + "\x1b[0m"


def deep(code: str, mark: str) -> str:
    """The code with `mark` for each indentation level of four spaces; the rest of each line is unchanged."""
    return each_line(code, lambda n, line: margin(line).replace("    ", mark) + line.lstrip())


def margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


Wrap = Callable[[Task, str], str]
PLAIN: dict[str, Wrap] = {
    "body": lambda task, body: body,
    "body after a line end": lambda task, body: "\n" + body,
    "body at the margin": lambda task, body: textwrap.dedent(body),
    "body whose first line lost its indentation": lambda task, body: body.lstrip(),
    "body in a fence": lambda task, body: "The body (it works):\n\n" + fence(body) + "\n\nHope this helps!",
    "body at the margin in a fence": lambda task, body: fence(textwrap.dedent(body)),
    "body in a fence whose first line lost its indentation": lambda task, body: fence(body.lstrip()),
    "body with tabs": lambda task, body: deep(body, "\t"),
    "body in a fence that the prompt opened": lambda task, body: f"python\n{body}\n```\nIt's done.",
    "body in an answer tag": lambda task, body: f"I think so.\n<code>\n{body}</code>\nDone.",
    "whole function": lambda task, body: task.prompt + body,
    "whole function with tabs in its body": lambda task, body: task.prompt + deep(body, "\t"),
    "whole function with tabs": lambda task, body: fence(deep(task.prompt + body, "\t")),
    "whole function behind prose on its line": lambda task, body: (
        "Sure! " + (task.prompt + body)[task.prompt.rindex("def ") :] + "\nThat is it."
    ),
    "future import": lambda task, body: fence("from __future__ import annotations\nimport math\n" + task.prompt + body),
    "CRLF": lambda task, body: fence(task.prompt + body).replace("\n", "\r\n"),
    "body with CRLF": lambda task, body: body.replace("\n", "\r\n"),
    "byte-order mark": lambda task, body: "\ufeff" + task.prompt + body,
    "helpers around": lambda task, body: fence(
        f"import functools\n\n\ndef shout(x):\n    print(x)\n\n\n{task.prompt}{body}\n\n"
        "@functools.lru_cache(maxsize=None)\ndef later(x):\n    global SEEN\n    SEEN = x\n"
    ),
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
    "continuation, then the end of a turn": lambda task, body: body + "<|im_end|>\n<|im_start|>user\nThanks!",
}  # fmt: skip
FENCED: dict[str, Wrap] = {
    "fence": lambda task, body: fence(task.prompt + body),
    "fence without a tag": lambda task, body: fence(task.prompt + body, ""),
    "fence of another language": lambda task, body: fence(task.prompt + body, "c++"),
    "fence with attributes": lambda task, body: fence(task.prompt + body, '{.python title="a.py" linenos=true}'),
    "fence of four marks": lambda task, body: f"````py\n{task.prompt}{body}\n````",
    "tilde fence": lambda task, body: f"~~~py\n{task.prompt}{body}\n~~~",
    "fence behind prose": lambda task, body: f"Here: ```python\n{task.prompt}{body}\n```",
    "fence in a list": lambda task, body: "1. Code:\n" + textwrap.indent(fence(task.prompt + body), "   "),
    "fence in a quotation": lambda task, body: "So:\n" + each_line(fence(task.prompt + body), lambda n, s: f"> {s}"),
    "code on the fence's line": lambda task, body: f"```python {(task.prompt + body).lstrip()}\n```",
    "unclosed fence": lambda task, body: "Sure!\n```python\n" + task.prompt + body,
    "fence with marks in a comment": lambda task, body: fence(
        f"# **Markdown** in `a` comment\n# ```\n{task.prompt}    # ```python\n    # - *now*:\n    # ```\n{body}"
    ),
    "several fences": lambda task, body: "\n".join([
        "First:", fence("x = [1, 2]\nprint(x)"), "Then", fence(task.prompt + body),
        "Usage:", fence(f"result = {task.entry_point}(input())\nprint(result)"),
        "Tests:", fence(f"import pytest\ndef test_it():\n    assert {task.entry_point}() == 3\ntest_it()"),
        "In a shell:", fence("$ python a.py\n55", "bash"),
    ]),
    "usage below": lambda task, body: fence(
        f"{task.prompt}{body}\n\nassert {task.entry_point}('q') == 0\nprint({task.entry_point}(1))\n"
        f"r = {task.entry_point}(input())\nfor i in range(3):\n    print({task.entry_point}(i))\n"
        f"for line in sys.stdin:\n    {task.entry_point}(line)\nwhile True:\n    {task.entry_point}(int(input()))\n"
        f"{task.entry_point} = {task.entry_point}(3)\n"
        "if __name__ == '__main__':\n    main()"
    ),
    "stub first": lambda task, body: fence(f"def {task.entry_point}(*a):\n    pass") + "\n" + fence(task.prompt + body),
    "stub last": lambda task, body: fence(task.prompt + body) + "\n" + fence(f"def {task.entry_point}(*a):\n    ..."),
    "stub first in the same fence": lambda task, body: fence(
        f"def {task.entry_point}(*a):\n    raise NotImplementedError()\n\n\n{task.prompt}{body}"
    ),
    "draft first": lambda task, body: draft(task) + "\nBetter:\n" + fence(task.prompt + body),
    "long reasoning first": lambda task, body: f"{draft(task)}\n{'Let me see. ' * 5000}\n{fence(task.prompt + body)}",
    "prose around": lambda task, body: (
        f"Here is what you're after:\n\n{task.prompt}{body}\n\nIt works (I think.\nNote: it's O(n).\n"
    ),
    "markdown indentation": lambda task, body: (
        "The solution:\n\n" + textwrap.indent(task.prompt + body, "    ") + "\n\nDone."
    ),
    "thoughts": lambda task, body: f"<think>\n{thought(task)}" + fence(task.prompt + body),
    "thoughts opened by the template": lambda task, body: thought(task) + fence(task.prompt + body),
    "unclosed thoughts": lambda task, body: "<think>\nI try " + fence(task.prompt + body),
    "thoughts in brackets": lambda task, body: f"[THINK]{draft(task)}[/THINK]\n" + fence(task.prompt + body),
    "thoughts between words": lambda task, body: (
        f"<|begin_of_thought|>\n{draft(task)}\n<|end_of_thought|>\n{task.prompt}{body}"
    ),
}  # fmt: skip
TAGS = ("<answer>", "<code>", "<solution>", "<python>", "[PYTHON]", "[ANSWER]", "<final_answer>", '<pre class="py">')


def tagged(opening: str) -> Wrap:
    """A reply with a draft, then the answer between tags."""
    name = opening.strip("<>[]").split()[0]
    closing = f"</{name}>" if opening[0] == "<" else f"[/{name}]"
    return lambda task, body: f"{draft(task)}\nFinally:\n{opening}\n{task.prompt}{body}{closing}\nThis is it."


TAGGED: dict[str, Wrap] = {f"between {tag}": tagged(tag) for tag in TAGS} | {
    "between [BEGIN] and [DONE]": lambda task, body: (
        f"[BEGIN]\n{task.prompt}{body}[DONE]\n\nYou are a programmer. [BEGIN]\ndef other(x):\n    return x\n[DONE]"
    ),
    "between tags on the code's lines": lambda task, body: (
        f"Answer: <answer>{(task.prompt + body).strip()}</answer> It's done."
    ),
    "between two tags": lambda task, body: f'<pre><code class="python">{(task.prompt + body).strip()}</code></pre>',
    "fence between tags": lambda task, body: f"<answer>\n{fence(task.prompt + body)}\n</answer>",
    "unclosed fence between tags": lambda task, body: f"<answer>\n```python\n{task.prompt}{body}\n</answer>",
    "before the end of a turn": lambda task, body: f"{fence(task.prompt + body)}<|im_end|>",
}  # fmt: skip
SPOILED: dict[str, Wrap] = {
    "non-breaking spaces": lambda task, body: fence(deep(task.prompt + body, "\u00a0" * 4)),
    "body with non-breaking spaces": lambda task, body: deep(body, "\u00a0" * 4),
    "zero-width spaces": lambda task, body: fence((task.prompt + body).replace("def ", "def \u200b")),
    "ANSI codes": lambda task, body: fence(coloured(task.prompt + body)),
    "curly quotes": lambda task, body: fence(
        f"def {task.entry_point}(*a):\n    assert “it’s” and ‘x’\n\n\n{task.prompt}{body}"
    ),
    "body with curly quotes": lambda task, body: f"    note = “it’s”\n{body}",
    "HTML entities": lambda task, body: fence(html.escape(task.prompt + body)),
    "added lines of a diff": lambda task, body: fence(each_line(task.prompt + body, lambda n, s: f"+{s}"), "diff"),
    "a diff": lambda task, body: (
        "--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,9 @@\n"
        + each_line(task.prompt, lambda n, s: f" {s}") + "\n-    pass\n" + each_line(body, lambda n, s: f"+{s}")
    ),
    "the interpreter's prompts": lambda task, body: (
        fence(prompted(task.prompt + body) + f"\n>>> {task.entry_point}()\n55\n>>> ")
    ),
    "the interpreter's prompts in prose": lambda task, body: f"So:\n\n{prompted(task.prompt + body)}\n\nDone.",
    "line numbers": lambda task, body: fence(each_line(task.prompt + body, lambda n, s: f"{n:3d} {s}")),
    "line numbers with bars": lambda task, body: fence(each_line(task.prompt + body, lambda n, s: f"{n:>4} | {s}")),
    "line numbers with colons": lambda task, body: each_line(task.prompt + body, lambda n, s: f"{n}: {s}"),
    "line numbers with tabs": lambda task, body: fence(each_line(task.prompt + body, lambda n, s: f"{n}\t{s}")),
    "numbered body": lambda task, body: fence(each_line(body, lambda n, s: f"{n:3d}  {s}")),
}  # fmt: skip
WRAPPINGS: dict[str, Wrap] = PLAIN | FENCED | TAGGED | SPOILED


def in_class(task: Task, body: str, name: str = "Solution", mark: str = "") -> str:
    """The function as a method; the code above it in the prompt stays above the class."""
    start = task.prompt.rindex(f"def {task.entry_point}(")
    method = (task.prompt[start:] + body).replace("(", "(self, " if not mark else "(", 1)
    return f"{task.prompt[:start]}class {name}:\n" + textwrap.indent(f"{mark}{method}", "    ")


def inner(task: Task, body: str) -> str:
    """The function renamed to `inner`, with the code above it in the prompt."""
    start = task.prompt.rindex(f"def {task.entry_point}(")
    return f"{task.prompt[:start]}def inner" + (task.prompt[start:] + body).removeprefix(f"def {task.entry_point}")


REBUILT: dict[str, Wrap] = {
    "method of class Solution": lambda task, body: fence(in_class(task, body)),
    "method of another class, bare": lambda task, body: in_class(task, body, "Answer") + "\nIt works.\n",
    "static method": lambda task, body: fence(in_class(task, body, mark="@staticmethod\n")),
    "class Solution and its use": lambda task, body: (
        fence(in_class(task, body) + f"\n\nsol = Solution()\nprint(sol.{task.entry_point}(input()))")
        + "\nUsage:\n" + fence(f"s = Solution()\nr = s.{task.entry_point}(3)\nprint(r)")
    ),
    "stub, then class Solution": lambda task, body: fence(
        f"def {task.entry_point}(*a):\n    pass\n\n\n{in_class(task, body)}"
    ),
    "assigned lambda": lambda task, body: fence(f"{inner(task, body)}\n{task.entry_point} = lambda *a: inner(*a)"),
    "annotated lambda": lambda task, body: fence(
        f"{inner(task, body)}\n{task.entry_point}: object = lambda *a: inner(*a)"
    ),
    "nested definition": lambda task, body: fence(
        f"def make():\n{textwrap.indent(inner(task, body), '    ')}\n    return inner\n\n\n{task.entry_point} = make()"
    ),
    "conditional definition": lambda task, body: fence(
        f"{inner(task, body)}\ntry:\n    import numby\n    x = 1\nexcept ImportError:\n"
        f"    def {task.entry_point}(*a):\n        print('x', end='')\n        return inner(*a)"
    ),
    "asynchronous helper": lambda task, body: fence(
        f"import asyncio\n{inner(task, body)}\n\n\nasync def work(a):\n    return inner(*a)\n\n\n"
        f"def {task.entry_point}(*a):\n    return asyncio.run(work(a))"
    ),
    "decorated": lambda task, body: fence(
        f"import functools\n\n\ndef plain(f):\n    @functools.wraps(f)\n    def g(*a):\n        return f(*a)\n"
        f"    return g\n\n\n{task.prompt[: task.prompt.rindex('def ')]}@plain\n"
        f"{(task.prompt + body)[task.prompt.rindex('def ') :]}"
    ),
}  # fmt: skip
