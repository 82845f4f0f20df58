"""Agents that answer again after a failing verdict: each round is a separate job, and scores use round 0."""

import tempfile
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.records import Attempt, Completion, Failure, Outcome, Suite, Task, Verdict, parse_job_id
from swarmeval.runs.journal import NAME
from swarmeval.runs.ledger import Ledger
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.runs.repair_rounds import called_for
from swarmeval.runs.result_files import write
from swarmeval.settings.run_config import RunConfig
from tests.support.coordinator_bench import Bench
from tests.support.echo_fleet import EchoFleet, EchoWorker

TASK = Task(
    "T/0",
    "def f(x):\n",
    Suite("f", "def check(candidate):\n    assert candidate(3) == 4\n    assert candidate(5) == 6\ncheck(f)"),
)


def wanted(plan: Plan, rights: Collection[str], failures: Collection[str] = ()) -> set[str]:
    """The expected jobs of a run: each failing answer is repaired as often as its agent may."""
    jobs = set()
    for k in range(plan.total):
        for number in range(k, plan.total * (1 + plan.agent(k).repairs), plan.total):
            job_id = plan.job(number).job_id
            jobs.add(job_id)
            if job_id in rights or job_id in failures:
                break
    return jobs


rounds = st.frozensets(st.builds("{}/T/{}/0/{}".format, st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)))


@given(
    rights=rounds, repairs=st.integers(0, 3), size=st.integers(1, 5), deaths=st.lists(st.integers(1, 30), max_size=2)
)
def test_each_answer_that_fails_is_repaired_once_and_in_turn(
    rights: frozenset[str], repairs: int, size: int, deaths: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), agents=3, tasks=4, max_repairs=repairs, batch_size=size)
        bench.rights = rights
        assert bench.run(EchoFleet([EchoWorker("cpu:0", deaths=deaths), EchoWorker("cpu:1")]))
        failures = {job_id for job_id, answer in bench.answers().items() if isinstance(answer, Failure)}
        assert set(bench.answers()) == wanted(bench.plan, rights, failures)
        assert set(bench.judged.values()) <= {1}
        places = {job_id: place for place, job_id in enumerate(bench.answers())}
        for job_id, place in places.items():
            job = parse_job_id(job_id)
            assert job.round == 0 or places[f"{job.agent_id}/{job.task_id}/0/{job.round - 1}"] < place


@pytest.mark.parametrize("drain_after", [1, 4, 9])
def test_repairs_left_out_by_an_interruption_are_made_by_the_next_session(tmp_path: Path, drain_after: int) -> None:
    bench = Bench(tmp_path, agents=2, tasks=3, max_repairs=2, workers={"max_in_flight": 1})
    bench.rights = frozenset({"0/T/1/0/0", "1/T/2/0/1"})
    assert not bench.run(EchoFleet([EchoWorker("cpu:0")]), drain_after)
    done = set(bench.answers())
    again = EchoWorker("cpu:0")
    assert bench.run(EchoFleet([again]))
    assert set(again.served) == wanted(bench.plan, bench.rights) - done
    assert set(bench.judged.values()) == {1}


def test_what_runs_out_of_time_gets_all_its_time_before_it_is_repaired(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=1, tasks=1, max_repairs=1)
    bench.slow = {"0/T/0/0/0": 2}
    assert bench.run(EchoFleet([EchoWorker("cpu:0")]))
    verdicts = [entry.verdict for entry in bench.journaled() if entry.verdict is not None]
    assert [(verdict.outcome, verdict.detail) for verdict in verdicts] == [
        (Outcome.TIMED_OUT, "late"),
        (Outcome.WRONG_ANSWER, ""),
    ]
    assert bench.whole == {"0/T/0/0/0": 1, "0/T/0/0/1": 0}


def test_a_repair_that_is_called_for_starts_from_the_answer_that_failed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=1, tasks=2, max_repairs=1)
    bench.rights = frozenset({"0/T/0/0/0"})
    assert not bench.run(EchoFleet([EchoWorker("cpu:0")]), drain_after=2)
    due = dict(called_for(tmp_path / NAME, bench.ledger))
    assert {k: attempt.completion.reply for k, attempt in due.items()} == {3: "echo 0/T/1/0/0"}


def test_round_0_keeps_the_score_and_rounds_say_what_they_add_and_cost(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=2, tasks=2, max_repairs=2)
    bench.rights = frozenset({"0/T/0/0/0", "1/T/0/0/1", "0/T/1/0/2"})
    assert bench.run(EchoFleet([EchoWorker("cpu:0")]))
    score = write(tmp_path, tmp_path / NAME, bench.ledger, {})
    assert (score["pass@1"], score["evaluations"], score["passed"], score["partial"]) == (0.25, 4, 1, False)
    found = score["rounds"]
    assert isinstance(found, list)
    assert [(one["pass@1"], one["jobs"], one["output_tokens"]) for one in found] == [
        (0.25, 4, 8),
        (0.5, 3, 6),
        (0.75, 2, 4),
    ]
    assert found[1]["outcomes"] == {"PASSED": 1, "WRONG_ANSWER": 2}
    assert len((tmp_path / "agent_0_results.jsonl").read_text().splitlines()) == 2
    assert len((tmp_path / "repairs.jsonl").read_text().splitlines()) == 5
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1 + 4 + 5


def test_agents_may_differ_in_how_often_they_repair(tmp_path: Path) -> None:
    config = RunConfig.model_validate({"agents": ({"name": "a"}, {"name": "b", "max_repairs": 2}), "max_repairs": 1})
    plan = Plan(make_agents(config), [TASK])
    assert [agent.repairs for agent in plan.agents] == [1, 2]
    assert plan.room == 6
    assert plan.job(plan.number("1/T/0/0/2")).job_id == "1/T/0/0/2"
    with pytest.raises(KeyError):
        plan.number("0/T/0/0/2")
    assert Ledger(plan).repair(Verdict("0/T/0/0/1", Outcome.RAISED, "")) is None


def test_a_repair_shows_the_model_its_own_reply_and_then_the_evidence() -> None:
    config = RunConfig(max_repairs=1)
    plan = Plan(make_agents(config), [TASK])
    failed = Attempt(
        Completion("0/T/0/0/0", "```\n    return x\n```"), Verdict("0/T/0/0/0", Outcome.TIMED_OUT, "    return x\n")
    )
    messages = make_request(plan, 1, "chat", config, failed).messages
    assert [message.role for message in messages or ()] == ["user", "assistant", "user"]
    assert messages is not None
    assert messages[1].content == failed.completion.reply
    assert "It did not finish within the time limit." in messages[2].content
    text = make_request(plan, 1, "completion", config, failed).text
    again = "# The code above is wrong. It did not finish within the time limit.\n# Corrected:"
    assert text == f"def f(x):\n    return x\n\n\n{again}\n\ndef f(x):"
