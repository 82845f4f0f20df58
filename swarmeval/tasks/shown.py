"""The texts that show a task to people: its tests, and the start of its programs. Runs nothing."""

from collections.abc import Iterator

from swarmeval.executed import Case, Comparison, Executed
from swarmeval.records import Task

SHOWN_CASES = 20
SHOWN_CHARS = 1000  # of each text of a case
COMPARED = {
    "exact": "as text",
    "tokens": "by words",
    "numbers": "by words and numbers",
    "livecodebench": "by lines and numbers, as LiveCodeBench does",
    "checker": "by this checker",
}


def shown_tests(task: Task) -> str:
    """The tests of a task as text: their source, and the cases of an executed task, which are shortened."""
    parts = [task.suite.text] if task.suite.text else []
    if task.executed is not None and task.executed.cases:
        parts += described_cases(task.executed)
    return "\n\n".join(parts)


def described_cases(executed: Executed) -> Iterator[str]:
    """Yield the comparison, and each case with the number that verdicts use."""
    yield described_comparison(executed.comparison)
    for number, case in enumerate(executed.cases[:SHOWN_CASES], start=1):
        yield described_case(number, case)
    if (more := len(executed.cases) - SHOWN_CASES) > 0:
        yield f"[{more:,} more cases]"


def described_comparison(comparison: Comparison) -> str:
    within = f" within {comparison.tolerance:g}" if comparison.tolerance else ""
    checker = f":\n{comparison.checker}" if comparison.checker else "."
    return f"Outputs are compared {COMPARED[comparison.rule]}{within}{checker}"


def described_case(number: int, case: Case) -> str:
    arguments = [f"arguments: {' '.join(map(repr, case.arguments))}"] if case.arguments else []
    given = [f"standard input:\n{shortened(case.stdin)}"] if case.stdin or not case.arguments else []
    wanted = f"expected output:\n{shortened(case.expected)}"
    return "\n".join([f"Case {number}", *arguments, *given, wanted])


def shortened(text: str, most: int = SHOWN_CHARS) -> str:
    return text if len(text) <= most else f"{text[:most]}\n[{len(text) - most:,} more characters]"


def program_start(task: Task) -> str:
    """The source before a candidate's code in its program. The code of an executed task is the whole program."""
    return "" if task.executed is not None else task.prompt
