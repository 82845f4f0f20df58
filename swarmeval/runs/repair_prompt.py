"""What an agent is told of an answer that failed, before it answers again."""

import re

from swarmeval.records import Attempt, Outcome, Task

SHOWN_CHARS = 400  # of a detail
TESTS_CHARS = 6000  # of hidden tests, where they are shown
TELLING_CHARS = 12  # characters of a line of the tests from which on it tells something
PLACE = re.compile(r" \(line (\d+): ")
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

    Without, nothing of the tests' source: no line of theirs, no value that they compare with.
    """
    verdict = attempt.verdict
    explanation = EXPLANATIONS[verdict.outcome]
    if repair_sees == "tests":
        detail = f"{verdict.outcome}: {verdict.detail}"[: 2 * SHOWN_CHARS]
        tests = task.suite.text[:TESTS_CHARS].strip()
        return f"{explanation.rstrip('.')}.\n{detail}\n\nThe tests:\n```python\n{tests}\n```"
    detail = _own(task, attempt) if verdict.outcome in (Outcome.RAISED, Outcome.BAD_SYNTAX) else ""
    return f"{explanation}: {detail}" if detail else f"{explanation.rstrip('.')}."


def _own(task: Task, attempt: Attempt) -> str:
    """A detail as far as it is about the program: its exception, and the line where that is one of its own."""
    detail, program = attempt.verdict.detail, task.prompt + attempt.verdict.code
    place = PLACE.search(detail)
    if place is not None and int(place[1]) > program.count("\n") + 1:
        detail = detail[: place.start()]  # a line of the tests
    lines = (line.strip() for line in task.suite.text.splitlines())
    if any(len(line) >= TELLING_CHARS and line in detail and line not in program for line in lines):
        return ""  # a program that reads its tests and raises them
    return detail[:SHOWN_CHARS]
