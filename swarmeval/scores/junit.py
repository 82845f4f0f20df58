"""Results in JUnit's XML, which continuous integration shows as tests: one per task, and one per gate."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from swarmeval.scores.gates import Gate, missed
from swarmeval.scores.paired import SOLVED
from swarmeval.surrogates import without_lone


def junit(score: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]], gates: Sequence[Gate]) -> str:
    """The file for a score.json and a task_summary.json.

    A task fails if fewer than half of its answers pass, as in `compare`. A task without a verdict is skipped.
    """
    name = f"{score.get('benchmark')} {score.get('model_id') or ''}".strip()
    cases = [_case(task, facts) for task, facts in tasks.items()]
    cases += [_gate(one, score) for one in gates]
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    suite = ElementTree.Element("testsuite", {"name": name, **{key: str(count) for key, count in counts.items()}})
    suite.extend(cases)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(task: str, facts: Mapping[str, Any]) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {"classname": "tasks", "name": _text(task)})
    share = facts.get("pass@1")
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in facts.get("outcomes", {}).items())
    if share is None:
        ElementTree.SubElement(case, "skipped", {"message": "no answer was judged"})
    elif share < SOLVED:
        passed, judged = facts.get("passed", 0), facts.get("verdicts", 0)
        ElementTree.SubElement(case, "failure", {"message": f"{passed} of {judged} answers passed: {outcomes}"})
    return case


def _gate(one: Gate, score: Mapping[str, Any]) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {"classname": "gates", "name": str(one)})
    for line in missed([one], score):
        ElementTree.SubElement(case, "failure", {"message": _text(line)})
    return case


def _text(text: str) -> str:
    """The text without characters that XML 1.0 cannot represent."""
    return "".join(letter if letter.isprintable() or letter in "\t\n" else "\ufffd" for letter in without_lone(text)[0])
