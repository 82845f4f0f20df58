"""The description of a failed answer that a repair prompt contains.

A program can influence the detail of its own verdict and may have read the tests. The prompt therefore contains only
information that the program already had: the name of an exception defined by Python or the program, and one of the
program's own lines.
"""

import builtins
import re

from swarmeval.extraction.candidate import CHECK_CHARS
from swarmeval.extraction.syntax import check, describe, parse
from swarmeval.records import Attempt, Outcome, Task
from swarmeval.tasks.languages import LANGUAGES
from swarmeval.tasks.shown import program_start, shown_tests

SHOWN_CHARS = 400  # limit for a line of the program; a detail may have twice that if the tests are shown
TESTS_CHARS = 6000  # limit for the hidden tests, if they are shown
EXCEPTION = re.compile(r"([A-Za-z_]\w*)(?::| \(line |$)")  # start of the detail of RAISED
PLACE = re.compile(r"\(line (\d{1,6}): ")
EXPLANATIONS = {
    Outcome.WRONG_ANSWER: "It ran and gave a wrong answer in at least one of the hidden tests.",
    Outcome.RAISED: "It raised an exception in the hidden tests",
    Outcome.TIMED_OUT: "It did not finish within the time limit.",
    Outcome.OUT_OF_MEMORY: "It ran out of memory.",
    Outcome.BAD_SYNTAX: "It is not valid Python",
    Outcome.EMPTY: "The reply contained no code.",
    Outcome.CRASHED: "The interpreter crashed with no output.",
    Outcome.TAMPERED: "It does not pass when it cannot reach the tests: only the function's return values count.",
}
OF_EXECUTED = {
    Outcome.BAD_SYNTAX: "It is not valid {language}",
    Outcome.CRASHED: "It crashed.",
    Outcome.RAISED: "It ended with an error in the hidden tests",
    Outcome.TAMPERED: "It ended before the hidden tests did.",
}


def failure_evidence(task: Task, attempt: Attempt, repair_sees: str) -> str:
    """Describe the failure; with `repair_sees` "tests", include the hidden tests and their findings.

    Otherwise the text contains nothing from the tests and no text that the program could choose: no message, no value.
    """
    verdict = attempt.verdict
    language = LANGUAGES[task.language]
    explanations = EXPLANATIONS if task.executed is None else EXPLANATIONS | OF_EXECUTED
    explanation = explanations[verdict.outcome].format(language=language.title).rstrip(".")
    if repair_sees == "tests":
        detail = f"{verdict.outcome}: {verdict.detail}"[: 2 * SHOWN_CHARS]
        tests = shown_tests(task)[:TESTS_CHARS].strip()
        tag = language.tag if task.suite.text else ""
        return f"{explanation}.\n{detail}\n\nThe tests:\n```{tag}\n{tests}\n```"
    program, own = program_start(task) + verdict.code, ""
    if task.language != "python":
        return f"{explanation}."  # the detail holds text of the program or its compiler, which is not verified
    if verdict.outcome is Outcome.RAISED:
        own = exception(verdict.detail, program)
    elif verdict.outcome is Outcome.BAD_SYNTAX:
        own = syntax_error(program)
    return f"{explanation}{own or '.'}"


def exception(detail: str, program: str) -> str:
    """The exception's type and the program line that raised it; each is left out if it cannot be verified."""
    match = EXCEPTION.match(detail)
    name = f": {match[1]}" if match is not None and is_exception(match[1], program) else ""
    line = own_line(detail, program)
    return f"{name} ({line})" if line else name


def is_exception(name: str, program: str) -> bool:
    """Whether Python has an exception with this name, or the program defines a class with it."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return True
    return re.search(rf"\bclass\s+{re.escape(name)}\b", program) is not None


def own_line(detail: str, program: str) -> str:
    """The first program line that a detail quotes, with its number; "" if it quotes none."""
    lines = [" ".join(line.split()) for line in program.splitlines()]
    for place in PLACE.finditer(detail):
        number = int(place[1])
        line = lines[number - 1] if 0 < number <= len(lines) else ""
        if line and (detail.startswith(f"{line})", place.end()) or line.startswith(detail[place.end() :])):
            return f"line {number}: {line[:SHOWN_CHARS]}"
    return ""


def syntax_error(program: str) -> str:
    """The syntax error of the program, computed again because the recorded detail may be forged."""
    if len(program) > CHECK_CHARS:
        return ""
    try:
        for statement in parse(program).body:
            check(statement)
    except SyntaxError as error:
        return f": {describe(error)}"
    return ""
