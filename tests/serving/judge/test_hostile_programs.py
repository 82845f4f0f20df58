"""Hostile programs sent to the judge over HTTP: none passes, escapes, or disturbs the items of others."""

import psutil
import pytest

from swarmeval.doctor.hostile import CHEATS, ESCAPES, EXHAUSTION, HONEST, TESTS
from swarmeval.doctor.hostile_programs import ALLOWED, CONTAINED, sources
from tests.support.judge_server import CALLS, DOUBLE, JudgeClient

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def all_layers(client: JudgeClient) -> None:
    if missing := client.get("/v1/offer").json()["sandbox_missing"]:
        pytest.skip(f"this machine lacks {missing}")


def test_no_cheat_passes(client: JudgeClient) -> None:
    task = {"entry_point": "f", "test": TESTS}
    items = [{"task": task, "solution": text} for text in (*CHEATS.values(), HONEST)]
    *outcomes, honest = client.outcomes(*items)
    assert honest == "PASSED"
    assert [name for name, outcome in zip(CHEATS, outcomes, strict=True) if outcome == "PASSED"] == []


def test_no_program_gets_out(client: JudgeClient) -> None:
    items = [{"task": CALLS, "solution": f"{text}\n{DOUBLE}"} for text in ESCAPES.values()]
    outcomes = client.outcomes(*items)
    assert [name for name, outcome in zip(ESCAPES, outcomes, strict=True) if outcome != "PASSED"] == []


def test_no_program_takes_more_than_its_share(client: JudgeClient) -> None:
    server = psutil.Process(client.pid)
    children = len(server.children(recursive=True))
    limits = {"timeout_s": 0.2, "memory_mb": 256}
    items = [{"task": CALLS, "solution": f"{text}\n{DOUBLE}", **limits} for text, _ in EXHAUSTION.values()]
    found = client.verdicts(*items, {"task": CALLS, "solution": f"{DOUBLE}# last"})
    assert found.pop(len(items))["passed"]
    assert all("outcome" in verdict for verdict in found.values())
    outcomes = {name: found[number]["outcome"] for number, name in enumerate(EXHAUSTION)}
    harmful = {name for name, (_, allowed) in EXHAUSTION.items() if "PASSED" not in allowed}
    assert {name for name in harmful if outcomes[name] == "PASSED"} <= {"recursion"}  # redefines f, which then works
    assert len(server.children(recursive=True)) <= children


def test_executed_programs_are_contained(client: JudgeClient) -> None:
    language = "python"
    texts = sources()[language]
    kinds = [kind for kind in ALLOWED if kind != "exit"]
    task = {"language": language, "cases": [{"expected": CONTAINED}]}
    items = [{"task": task, "solution": texts[kind], "memory_mb": 256} for kind in kinds]
    outcomes = dict(zip(kinds, client.outcomes(*items), strict=True))
    assert {kind: outcome for kind, outcome in outcomes.items() if outcome not in ALLOWED[kind]} == {}
    own_tests = {"language": language, "tests": texts["tests"]}
    assert client.outcomes({"task": own_tests, "solution": texts["exit"]})[0] in ALLOWED["exit"]
