"""Result files are derived only from the journal: in plan order, failures separate, undefined values null."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from swarmeval.records import Completion, Failure, Outcome, Suite, Task, Verdict
from swarmeval.runs.journal import NAME, Entry, Journal, SessionStart
from swarmeval.runs.ledger import Ledger
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.result_files import METRICS, write
from swarmeval.scores.spending import Prices
from swarmeval.settings.prices import PriceSettings
from swarmeval.settings.run_config import RunConfig

TASKS = [Task(f"HumanEval/{n}", "def f():\n", Suite("f", "")) for n in range(2)]


def completion(job_id: str, elapsed_s: float, latency_s: float = 2.0, computed: int | None = None) -> Entry:
    return Entry(
        completion=Completion(
            job_id, "reply", device="cpu:0", batch_id=0, prompt_tokens=5, output_tokens=11, ttft_s=1.0,
            latency_s=latency_s, finish_reason="stop", finished_at=7.0, elapsed_s=elapsed_s,
            computed_tokens=computed,
        )
    )  # fmt: skip


def verdict(job_id: str, outcome: Outcome, shared: bool = False) -> Entry:
    return Entry(verdict=Verdict(job_id, outcome, "    return 1", "why", 0.25, shared=shared))


def written(
    folder: Path, entries: list[Entry], facts: Mapping[str, object] | None = None, prices: Prices | None = None
) -> dict[str, object]:
    ledger = Ledger(Plan(make_agents(RunConfig(num_agents=2)), TASKS))
    with Journal(folder) as journal:
        for entry in entries:
            ledger.add(entry)
            journal.append(entry)
    return write(folder, folder / NAME, ledger, {"model_id": "m", **(facts or {})}, prices)


STORY = [
    Entry(session=SessionStart(1.0)),
    completion("1/HumanEval/1/0/0", 3.0),
    completion("0/HumanEval/0/0/0", 4.0, latency_s=4.0),
    verdict("1/HumanEval/1/0/0", Outcome.WRONG_ANSWER),
    Entry(session=SessionStart(900.0)),  # the pause before it must not count
    verdict("0/HumanEval/0/0/0", Outcome.PASSED),
    Entry(failure=Failure("0/HumanEval/1/0/0", "worker died", 3, "cpu:1", 8.0, 2.0)),
    completion("1/HumanEval/0/0/0", 6.0),
    verdict("1/HumanEval/0/0/0", Outcome.PASSED),
]


def test_the_score_counts_verdicts_not_failures_and_says_what_is_undefined(tmp_path: Path) -> None:
    score = written(tmp_path, STORY)
    assert score == json.loads((tmp_path / "score.json").read_text())
    assert score["pass@1"] == 0.5  # task 0: 2 of 2, task 1: 0 of 1
    assert (score["pass@10"], score["undefined"]) == (
        None,
        {f"pass@{k}": f"pass@{k} needs at least {k} samples per task; the fewest here are 1" for k in (10, 100)}
        | {"answers_needed": "needs at least 2 tasks, and 2 answers to each"},
    )
    assert (score["total"], score["evaluations"], score["failures"], score["unanswered"], score["partial"]) == (
        2, 3, 1, 0, True,
    )  # fmt: skip
    assert score["outcomes"] == {"PASSED": 2, "WRONG_ANSWER": 1}


def test_programs_that_were_executed_are_told_from_shared_verdicts(tmp_path: Path) -> None:
    story = [completion(f"{agent}/HumanEval/{task}/0/0", 1.0) for agent in (0, 1) for task in (0, 1)]
    story += [verdict(f"{agent}/HumanEval/0/0/0", Outcome.PASSED, shared=agent == 1) for agent in (0, 1)]
    score = written(tmp_path, [*story, verdict("0/HumanEval/1/0/0", Outcome.EMPTY)])
    assert (score["evaluations"], score["programs_executed"], score["verdicts_shared"]) == (3, 1, 1)
    lines = [json.loads((tmp_path / f"agent_{agent}_results.jsonl").read_text().splitlines()[0]) for agent in (0, 1)]
    assert [line.get("shared") for line in lines] == [None, True]


def test_time_between_sessions_does_not_count(tmp_path: Path) -> None:
    score = written(tmp_path, STORY)
    assert score["generation_s"] == 4.0 + 6.0
    assert score["avg_throughput_rps"] == 4 / 10
    assert score["tokens_per_s"] == 33 / 10
    assert score["avg_latency_s"] == 8 / 3


def shared(second_session: int | None) -> list[Entry]:
    """Two sessions; in the second, an agent shares its answer with the other."""
    return [
        Entry(session=SessionStart(1.0)),
        completion("0/HumanEval/0/0/0", 4.0, computed=11),
        completion("1/HumanEval/0/0/0", 4.0, computed=0),
        Entry(session=SessionStart(900.0)),
        completion("0/HumanEval/1/0/0", 1.0, computed=11),
        completion("1/HumanEval/1/0/0", 1.0, computed=second_session),
    ]


def test_computed_tokens_of_all_sessions_are_summed(tmp_path: Path) -> None:
    score = written(tmp_path, shared(0))
    assert (score["output_tokens"], score["computed_tokens"], score["sharing_factor"]) == (44, 22, 2.0)
    assert (score["tokens_per_s"], score["computed_tokens_per_s"]) == (44 / 5, 22 / 5)
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["computed_tokens"] for row in csv.DictReader(file)] == ["11", "0", "11", "0"]


def test_computed_tokens_that_one_answer_does_not_state_are_left_out(tmp_path: Path) -> None:
    score = written(tmp_path, shared(None))
    assert not {"computed_tokens", "computed_tokens_per_s", "sharing_factor"} & set(score)
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["computed_tokens"] for row in csv.DictReader(file)] == ["11", "0", "11", ""]


def test_a_journal_of_an_older_version_has_no_computed_tokens(tmp_path: Path) -> None:
    assert "computed_tokens" not in written(tmp_path, STORY)


def test_metrics_has_a_row_per_answered_job_in_plan_order(tmp_path: Path) -> None:
    written(tmp_path, STORY)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == METRICS
    assert [row["job_id"] for row in rows] == [
        "0/HumanEval/0/0/0", "1/HumanEval/0/0/0", "0/HumanEval/1/0/0", "1/HumanEval/1/0/0",
    ]  # fmt: skip
    assert (rows[0]["tpot_s"], rows[0]["outcome"], rows[0]["judge_s"]) == ("0.3", "PASSED", "0.25")
    assert (rows[2]["outcome"], rows[2]["latency_s"], rows[2]["attempts"]) == ("NOT_GENERATED", "", "3")


def test_an_agents_files_hold_its_verdicts_and_name_what_was_not_generated(tmp_path: Path) -> None:
    written(tmp_path, STORY)
    lines = [json.loads(line) for line in (tmp_path / "agent_0_results.jsonl").read_text().splitlines()]
    assert lines == [
        {
            "task_id": "HumanEval/0", "sample": 0, "completion": "    return 1", "passed": True, "outcome": "PASSED",
            "detail": "why", "extraction": "", "reply": "reply", "job_id": "0/HumanEval/0/0/0",
        }
    ]  # fmt: skip
    evaluation = json.loads((tmp_path / "agent_0_evaluation.json").read_text())
    assert evaluation["tasks"] == {
        "HumanEval/0": [{"sample": 0, "outcome": "PASSED", "detail": "why"}],
        "HumanEval/1": [{"sample": 0, "outcome": "NOT_GENERATED", "detail": "worker died"}],
    }
    first, second = json.loads((tmp_path / "agent_summary.json").read_text())
    assert (first["pass@1"], first["jobs"], first["retries"]) == (1.0, 2, 2)
    assert first["outcomes"] == {"NOT_GENERATED": 1, "PASSED": 1}
    assert first["latency"] == {"mean_s": 4.0, "p50_s": 4.0, "p95_s": 4.0, "p99_s": 4.0}
    assert (second["pass@1"], second["output_tokens"]) == (0.5, 22)


def test_a_completion_without_a_verdict_is_said_to_be_unjudged(tmp_path: Path) -> None:
    score = written(tmp_path, [Entry(session=SessionStart(1.0)), completion("0/HumanEval/0/0/0", 1.0)])
    assert (score["evaluations"], score["unanswered"], score["unjudged"]) == (0, 3, 1)
    assert (score["partial"], score["pass@1"]) == (True, None)
    evaluation = json.loads((tmp_path / "agent_0_evaluation.json").read_text())
    assert evaluation["tasks"]["HumanEval/0"][0] == {"sample": 0, "outcome": None, "detail": "not judged yet"}
    assert (tmp_path / "agent_0_results.jsonl").read_text() == ""


def thinking(job_id: str, reply: str, reason: str, tokens: int | None) -> Entry:
    """A reply after thoughts; "" if it was cut while thinking."""
    return Entry(
        completion=Completion(
            job_id, reply, output_tokens=9, finish_reason=reason, elapsed_s=1.0,
            reasoning="Hm" if tokens else "", reasoning_tokens=tokens,
        )
    )  # fmt: skip


def test_cut_replies_and_thoughts_are_in_every_file_of_results(tmp_path: Path) -> None:
    story = [
        thinking("0/HumanEval/0/0/0", "", "length", 9),
        thinking("1/HumanEval/0/0/0", "reply", "stop", 4),
        thinking("0/HumanEval/1/0/0", "reply", "stop", None),
        verdict("0/HumanEval/0/0/0", Outcome.EMPTY),
        verdict("1/HumanEval/0/0/0", Outcome.PASSED),
        verdict("0/HumanEval/1/0/0", Outcome.WRONG_ANSWER),
    ]
    score = written(tmp_path, story)
    assert score["reasoning"] == {"replies": 2, "tokens": 13, "mean_tokens": 6.5}
    truncation = score["truncation"]
    assert isinstance(truncation, dict)
    assert (truncation["cut"], truncation["cut_while_thinking"], truncation["finished_pass@1"]) == (1, 1, 0.5)
    tasks = json.loads((tmp_path / "task_summary.json").read_text())
    assert [task["truncation"]["share"] for task in tasks.values()] == [0.5, 0.0]
    agents = json.loads((tmp_path / "agent_summary.json").read_text())
    assert [agent["truncation"]["share"] for agent in agents] == [0.5, 0.0]
    evaluation = json.loads((tmp_path / "agent_0_evaluation.json").read_text())
    assert evaluation["truncation"] == agents[0]["truncation"]
    assert [task[0].get("cut") for task in evaluation["tasks"].values()] == [True, None]
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["reasoning_tokens"] for row in csv.DictReader(file)] == ["9", "4", ""]
    lines = [json.loads(line) for line in (tmp_path / "agent_0_results.jsonl").read_text().splitlines()]
    found = [(line.get("cut"), line.get("reasoning"), line.get("reasoning_tokens")) for line in lines]
    assert found == [(True, "Hm", 9), (None, None, None)]


def test_replies_without_a_finish_reason_leave_truncation_undefined(tmp_path: Path) -> None:
    story = [thinking("0/HumanEval/0/0/0", "reply", "", None), verdict("0/HumanEval/0/0/0", Outcome.PASSED)]
    score = written(tmp_path, story)
    assert score["truncation"] is None
    assert isinstance(score["undefined"], dict)
    assert score["undefined"]["truncation"] == "the replies do not say how they ended (finish_reason)"
    assert "reasoning" not in score


def test_curves_and_cost_are_in_the_score_on_few_lines(tmp_path: Path) -> None:
    prices = Prices(PriceSettings(per_device_hour=3600.0), devices=2)
    score = written(tmp_path, STORY, {"energy": {"joules_per_output_token": 2.0}}, prices)
    budgets = score["budgets"]
    assert isinstance(budgets, dict)
    assert list(budgets) == ["output_tokens", "seconds", "joules", "money"]
    assert (budgets["seconds"]["budgets"][0], budgets["seconds"]["pass@1"][0]) == (2.0, 0.25)  # 1 of 2, 0 of 1
    assert (budgets["seconds"]["budgets"][-1], budgets["seconds"]["pass@1"][-1]) == (4.0, 0.5)
    assert budgets["joules"]["budgets"] == [22.7]  # all replies have 11 tokens
    cost = score["cost"]
    assert isinstance(cost, dict)
    assert (cost["total"], cost["per_evaluation"], cost["per_solved_task"]) == (20.0, 20 / 3, 20.0)
    text = (tmp_path / "score.json").read_text()
    assert json.loads(text) == score
    assert '      "budgets": [12],' in text.splitlines()


def test_no_draft_is_left_behind(tmp_path: Path) -> None:
    written(tmp_path, STORY)
    assert not list(tmp_path.glob(".*"))
