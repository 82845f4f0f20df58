"""Gates: least scores that a run must reach, and results as tests in JUnit's XML."""

from typing import Any
from xml.etree import ElementTree

import pytest

from swarmeval.scores.gates import Gate, gate, missed
from swarmeval.scores.junit import junit

SCORE: dict[str, Any] = {
    "benchmark": "humaneval", "model_id": "m", "pass@1": 0.5, "pass@10": None,
    "intervals": {"pass@1": [0.4, 0.6], "pass@10": None}, "undefined": {"pass@10": "pass@10 needs at least 10 samples"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("pass@1=0.6", Gate("pass@1", False, 0.6)),
        ("pass@10=1", Gate("pass@10", False, 1.0)),
        ("pass@1.lower=.55", Gate("pass@1", True, 0.55)),
    ],
)
def test_a_gate_is_a_metric_and_its_least_value(text: str, parsed: Gate) -> None:
    assert gate(text) == parsed


@pytest.mark.parametrize("text", ["pass@1", "pass@2=0.5", "pass@1.upper=0.5", "0.6", ""])
def test_what_is_no_gate_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a gate; write pass@1=0\.6, pass@10=0\.8 or pass@1\.lower=0\.55$"):
        gate(text)


@pytest.mark.parametrize("share", ["60", "0", "-1", "nan", "half", "1.01"])
def test_a_share_lies_above_0_and_up_to_1(share: str) -> None:
    with pytest.raises(ValueError, match=r"is not a share; write a number above 0 and up to 1, such as 0\.6$"):
        gate(f"pass@1={share}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pass@1=0.5", []),
        ("pass@1=0.51", ["pass@1 is 0.5, below 0.51; --fail-under pass@1=0.51"]),
        ("pass@1.lower=0.4", []),
        ("pass@1.lower=0.45", ["the lower end of pass@1 is 0.4, below 0.45; --fail-under pass@1.lower=0.45"]),
        ("pass@10=0.1", ["pass@10 is undefined (pass@10 needs at least 10 samples); --fail-under pass@10=0.1"]),
        ("pass@100=0.1", ["pass@100 is undefined (it was not measured); --fail-under pass@100=0.1"]),
    ],
)
def test_a_gate_is_missed_below_its_value_or_if_it_is_undefined(text: str, said: list[str]) -> None:
    assert list(missed([gate(text)], SCORE)) == said


def test_junit_has_a_test_per_task_and_per_gate() -> None:
    tasks: dict[str, dict[str, Any]] = {
        "T/0": {"pass@1": 0.5, "passed": 1, "verdicts": 2, "outcomes": {"PASSED": 1, "RAISED": 1}},
        "T/1 <\x00>": {"pass@1": 0.0, "passed": 0, "verdicts": 2, "outcomes": {"EMPTY": 2}},
        "T/2": {"pass@1": None, "passed": 0, "verdicts": 0, "outcomes": {}},
    }
    suite = ElementTree.fromstring(junit(SCORE, tasks, [gate("pass@1=0.6"), gate("pass@1=0.2")]))[0]
    assert suite.attrib == {"name": "humaneval m", "tests": "5", "failures": "2", "skipped": "1"}
    told = {case.get("name"): [(part.tag, part.get("message")) for part in case] for case in suite}
    assert told == {
        "T/0": [],
        "T/1 <\ufffd>": [("failure", "0 of 2 answers passed: 2 EMPTY")],
        "T/2": [("skipped", "no answer was judged")],
        "pass@1=0.6": [("failure", "pass@1 is 0.5, below 0.6; --fail-under pass@1=0.6")],
        "pass@1=0.2": [],
    }
