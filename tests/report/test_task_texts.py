"""The texts of tasks in a report: whole if they are of the usual length, cut and said so if they are not."""

from swarmeval.executed import Case, Executed
from swarmeval.records import Suite, Task
from swarmeval.report.task_texts import MOST_OF_ONE, TaskTexts, task_texts


def task(name: str, tests: str = "assert f()", reference: str = "    return 1\n", question: str = "") -> Task:
    return Task(name, "def f():\n", Suite("f", tests), question, reference=reference)


def test_usual_texts_are_whole_and_a_prompt_is_what_was_asked() -> None:
    texts, said = task_texts([task("A"), task("B", question="Write f.", reference="")])
    assert texts["A"] == TaskTexts("def f():\n", "def f():\n", "assert f()", "    return 1\n")
    assert texts["B"] == TaskTexts("Write f.", "def f():\n", "assert f()", None)
    assert said == ""


def test_long_tests_are_cut_and_a_long_reference_is_left_out() -> None:
    long = "x" * (MOST_OF_ONE + 1)
    texts, said = task_texts([task("A", tests=long, reference=long), task("B")])
    assert texts["A"].tests == f"{long[:-1]}\n[1 more characters]"
    assert texts["A"].reference is None
    assert said == "The tests of one task are truncated after 20,000 characters."


def test_the_tests_of_many_tasks_share_the_room() -> None:
    texts, said = task_texts([task(str(k), tests="x" * 2000) for k in range(6000)])
    assert len(texts["0"].tests) < 1100
    assert said == "The tests of 6,000 tasks are truncated after 1,000 characters."


def test_an_executed_task_shows_its_cases_and_its_whole_program() -> None:
    executed = Executed("python", (Case("1", "2"),))
    texts, _ = task_texts([Task("A", "import sys\n", Suite("", ""), "Add one.", executed=executed)])
    assert texts["A"].prompt == "Add one."
    assert texts["A"].source == ""
    assert texts["A"].tests.endswith("Case 1\nstandard input:\n1\nexpected output:\n2")
