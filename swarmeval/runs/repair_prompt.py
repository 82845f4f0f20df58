"""What an agent is told of an answer that failed, before it answers again.

A program may write the detail of its own verdict, and may have read the tests before. So of a detail only what says
nothing new is passed on: the name of an exception that Python or the program defines, and a line of the program.
"""

import builtins
import re

from swarmeval.extraction.candidate import CHECK_CHARS
from swarmeval.extraction.syntax import check, describe, parse
from swarmeval.records import Attempt, Outcome, Task

SHOWN_CHARS = 400  # of a line of the program; twice that of a detail, where the tests are shown
TESTS_CHARS = 6000  # of hidden tests, where they are shown
EXCEPTION = re.compile(r"([A-Za-z_]\w*)(?::| \(line |$)")  # how the detail of one begins
PLACE = re.compile(r"\(line (\d{1,6}): ")
EXPLANATIONS = {
    Outcome.WRONG_ANSWER: "It ran, and gave a wrong answer in at least one of the hidden tests.",
    Outcome.RAISED: "It raised an exception in the hidden tests",
    Outcome.TIMED_OUT: "It did not end within the time limit.",
    Outcome.OUT_OF_MEMORY: "It ran out of memory.",
    Outcome.BAD_SYNTAX: "It is no valid Python",
    Outcome.EMPTY: "The reply held no code.",
    Outcome.CRASHED: "The interpreter ended without a word.",
    Outcome.TAMPERED: "It does not pass where the tests cannot be reached: only what the function returns counts.",
}


def failure_evidence(task: Task, attempt: Attempt, repair_sees: str) -> str:
    """The evidence in words; with `repair_sees` "tests" also the hidden tests and what they found.

    Without, nothing of the tests and no text of the program's making: no message, no value.
    """
    verdict = attempt.verdict
    explanation = EXPLANATIONS[verdict.outcome].rstrip(".")
    if repair_sees == "tests":
        detail = f"{verdict.outcome}: {verdict.detail}"[: 2 * SHOWN_CHARS]
        tests = task.suite.text[:TESTS_CHARS].strip()
        return f"{explanation}.\n{detail}\n\nThe tests:\n```python\n{tests}\n```"
    program, own = task.prompt + verdict.code, ""
    if verdict.outcome is Outcome.RAISED:
        own = exception(verdict.detail, program)
    elif verdict.outcome is Outcome.BAD_SYNTAX:
        own = syntax_error(program)
    return f"{explanation}{own or '.'}"


def exception(detail: str, program: str) -> str:
    """The type of the exception and the line of the program where it arose, each only if it is known to be that."""
    match = EXCEPTION.match(detail)
    name = f": {match[1]}" if match is not None and is_exception(match[1], program) else ""
    line = own_line(detail, program)
    return f"{name} ({line})" if line else name


def is_exception(name: str, program: str) -> bool:
    """Whether Python has an exception of this name, or the program defines a class of it."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return True
    return re.search(rf"\bclass\s+{re.escape(name)}\b", program) is not None


def own_line(detail: str, program: str) -> str:
    """The first line that a detail quotes from the program, with its number; "" where it quotes lines of the tests."""
    lines = [" ".join(line.split()) for line in program.splitlines()]
    for place in PLACE.finditer(detail):
        number = int(place[1])
        line = lines[number - 1] if 0 < number <= len(lines) else ""
        if line and (detail.startswith(f"{line})", place.end()) or line.startswith(detail[place.end() :])):
            return f"line {number}: {line[:SHOWN_CHARS]}"
    return ""


def syntax_error(program: str) -> str:
    """What Python says of the program, found anew: whoever ran it may have written something else."""
    if len(program) > CHECK_CHARS:
        return ""
    try:
        for statement in parse(program).body:
            check(statement)
    except SyntaxError as error:
        return f": {describe(error)}"
    return ""
