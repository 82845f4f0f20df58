"""The judge over HTTP, in a process of its own: verdicts, limits, keys, turns and clients that hang up."""

import asyncio
import json
from collections.abc import Iterator

import httpx2
import psutil
import pytest

from human_eval_runner import canonical_solutions
from tests.support.judge_server import ADD, CALLS, DOUBLE, LIMIT_S, SUM, JudgeClient, judging

pytestmark = pytest.mark.slow

KEYS = ("the-key-of-alice", "the-key-of-bob")
ENDLESS = "def f(x):\n    while True: pass\n"


@pytest.fixture(scope="module")
def clients() -> Iterator[list[JudgeClient]]:
    with judging(
        "judge_service.languages=[python, bash]", "judge_service.queue=4", "eval_timeout=5", keys=KEYS
    ) as found:
        yield found


@pytest.fixture
def alice(clients: list[JudgeClient]) -> JudgeClient:
    return clients[0]


def test_answers_of_every_form_get_verdicts(alice: JudgeClient) -> None:
    canonical = canonical_solutions()["HumanEval/0"]
    found = alice.verdicts(
        {"task": "HumanEval/0", "completion": canonical},
        {"task": "HumanEval/0", "completion": "    return 3\n"},
        {"task": "HumanEval/0", "reply": "I do not know."},
        {"task": CALLS, "reply": f"Here:\n```python\n{DOUBLE}```"},
        {"task": CALLS, "solution": "def f(x): return x[0]"},
        {"task": SUM, "solution": ADD},
        {"task": {"language": "bash", "cases": SUM["cases"]}, "solution": "read a b; echo $((a * b))"},
        {"task": SUM, "files": {"program.py": "import more", "more.py": ADD}},
    )
    assert [found[number]["outcome"] for number in range(8)] == [
        "PASSED", "WRONG_ANSWER", "EMPTY", "PASSED", "RAISED", "PASSED", "WRONG_ANSWER", "PASSED",
    ]  # fmt: skip
    assert {verdict["unconfirmed"] for verdict in found.values()} == {False}
    assert found[6]["detail"] == "case 1 of 1: line 1: expected '3', found '2'"


def test_limits_of_an_item_hold(alice: JudgeClient) -> None:
    large = "def f(x):\n    return len(bytearray(300 << 20)) and 6\n"
    found = alice.outcomes(
        {"task": CALLS, "solution": ENDLESS, "timeout_s": 0.2},
        {"task": CALLS, "solution": large},
        {"task": CALLS, "solution": large, "memory_mb": 256},
        {"task": SUM, "solution": "while True: pass", "timeout_s": 0.2},
    )
    assert found == ["TIMED_OUT", "PASSED", "OUT_OF_MEMORY", "TIMED_OUT"]


def test_equal_programs_run_once(alice: JudgeClient) -> None:
    same = {"task": "HumanEval/3", "solution": "def below_zero(operations):\n    return None\n"}
    found = alice.verdicts(*[same] * 9)
    assert sorted(verdict["shared"] for verdict in found.values()) == [False] + [True] * 8


def test_verdicts_arrive_as_soon_as_they_are_ready(alice: JudgeClient) -> None:
    items = [
        {"id": "late", "task": CALLS, "solution": ENDLESS, "timeout_s": 0.5},
        {"id": "soon", "task": CALLS, "solution": DOUBLE},
    ]
    url = alice.root + "/v1/verdicts"
    with httpx2.stream("POST", url, json={"items": items}, headers=alice.headers, timeout=LIMIT_S) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = answer.iter_lines()
        assert json.loads(next(lines))["id"] == "soon"
        assert alice.get("/health").json() == {"status": "ok"}  # answered while a program is running
        assert json.loads(next(lines))["outcome"] == "TIMED_OUT"


def test_only_clients_with_a_key_are_judged(alice: JudgeClient) -> None:
    stranger = JudgeClient(alice.root, alice.pid, "a-guess")
    assert stranger.get("/health").json() == {"status": "ok"}
    for answer in (stranger.post("/v1/verdicts", {}), stranger.get("/metrics"), stranger.get("/v1/offer")):
        assert answer.status_code == 401
    assert alice.get("/v1/offer").json()["languages"] == ["python", "bash"]
    assert 'swarmeval_judge_verdicts_total{outcome="PASSED"}' in alice.get("/metrics").text


def test_a_client_that_hangs_up_frees_its_slots_at_once(alice: JudgeClient) -> None:
    items = [{"id": n, "task": CALLS, "solution": f"{ENDLESS}# {n}", "timeout_s": 5} for n in range(12)]

    async def hang_up() -> None:
        url = alice.root + "/v1/verdicts"
        async with (
            asyncio.timeout(LIMIT_S),
            httpx2.AsyncClient(headers=alice.headers, timeout=LIMIT_S) as client,
            client.stream("POST", url, json={"items": items}) as answer,
        ):
            assert answer.status_code == 200

    asyncio.run(hang_up())
    (verdict,) = alice.verdicts({"task": CALLS, "solution": f"{DOUBLE}# after"}).values()
    assert verdict["passed"]
    assert "swarmeval_judge_waiting 0.0" in alice.get("/metrics").text
    assert not [child for child in psutil.Process(alice.pid).children(recursive=True) if child.cpu_percent(0.05) > 50]


def test_a_full_queue_is_refused_for_one_client_only(clients: list[JudgeClient]) -> None:
    alice, bob = clients
    items = [{"id": n, "task": CALLS, "solution": f"{ENDLESS}# {n}", "timeout_s": 0.4} for n in range(12)]

    async def refused() -> httpx2.Response:
        url, body = alice.root + "/v1/verdicts", {"items": items}
        async with (
            httpx2.AsyncClient(headers=alice.headers, timeout=LIMIT_S) as client,
            client.stream("POST", url, json=body),
        ):
            (verdict,) = (await asyncio.to_thread(bob.verdicts, {"task": CALLS, "solution": DOUBLE})).values()
            assert verdict["passed"]
            return await client.post(url, json=body)

    answer = asyncio.run(refused())
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "of your items are already waiting (judge_service.queue); retry in " in answer.json()["error"]["message"]


def test_tests_of_one_client_cannot_change_those_of_another(clients: list[JudgeClient]) -> None:
    alice, bob = clients
    spoilt = "import builtins\ndef check(candidate):\n    builtins.AssertionError = SystemExit\n    candidate(3)\n"
    wrong = {"task": CALLS, "solution": "def f(x): return 7\n"}
    for number in range(2):
        alice.verdicts({"task": {**CALLS, "test": spoilt}, "solution": f"{DOUBLE}# {number}"})
        assert bob.outcomes({**wrong, "solution": f"def f(x): return 7  # {number}\n"}) == ["WRONG_ANSWER"]
    kept = "import sys\nsys.kept = 1\ndef check(candidate):\n    assert candidate(3) == 6\n"
    look = "import sys\ndef check(candidate):\n    assert not hasattr(sys, 'kept')\n    assert candidate(3) == 6\n"
    for number in range(2):
        alice.verdicts({"task": {**CALLS, "test": kept}, "solution": f"{DOUBLE}# kept {number}"})
        assert bob.outcomes({"task": {**CALLS, "test": look}, "solution": f"{DOUBLE}# {number}"}) == ["PASSED"]


def test_forged_records_of_calls_harm_no_other_client(clients: list[JudgeClient]) -> None:
    alice, bob = clients
    forged = """
import os, struct
for body in (b"+PASSED\\n", b"[1, [2]]"):
    os.write(3, struct.pack(">I", len(body)) + body)
os._exit(0)
def check(candidate): pass
"""
    task = {**CALLS, "test": forged, "canonical_solution": DOUBLE}
    assert alice.outcomes({"task": task, "solution": f"{DOUBLE}# forged"}) == ["PASSED"]  # her own tests say so
    assert bob.outcomes({"task": {**CALLS, "canonical_solution": DOUBLE}, "solution": "def f(x): return 7  # b\n"}) == [
        "WRONG_ANSWER"
    ]
