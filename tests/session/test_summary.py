"""The summary at the end of a run: the score first, at most 80 columns."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.session.summary import summary, wrapped

SCORE = {
    "pass@1": 0.5, "pass@10": 0.75, "pass@100": None, "passed": 4100, "evaluations": 8200, "total": 164,
    "intervals": {"pass@1": [0.4321, 0.5678], "pass@10": [0.7, 0.8]}, "agents": {"min": 0.45, "max": 0.55},
    "outcomes": {"PASSED": 4100, "RAISED": 1000, "WRONG_ANSWER": 3100}, "failures": 0, "unanswered": 0, "unjudged": 0,
    "avg_throughput_rps": 9.6953, "tokens_per_s": 1743.43, "avg_latency_s": 65.12,
}  # fmt: skip


def lines(reason: str = "finished", coordinator: str = "", **changed: object) -> list[str]:
    return summary(Path("run"), {**SCORE, **changed}, {}, reason, coordinator).splitlines()


def test_the_score_comes_first_with_interval_and_counts_then_the_largest_k() -> None:
    assert lines() == [
        "pass@1     50.0 % (95 % CI 43.2-56.8 %); 4100 of 8200 answers passed, 164 tasks",
        "pass@10    75.0 % (95 % CI 70.0-80.0 %)",
        "agents     lowest pass@1 45.0 %, highest 55.0 %",
        "outcomes   4100 PASSED, 3100 WRONG_ANSWER, 1000 RAISED",
        "speed      1,743 tokens/s, 9.7 jobs/s, mean latency 65.1 s",
        "files      run/score.json and others beside it",
    ]


def test_delivered_and_computed_tokens_are_told_apart() -> None:
    agents = {"agents": [{"id": number} for number in range(50)]}
    known = {**SCORE, "output_tokens": 860_000, "computed_tokens": 74_000, "sharing_factor": 860 / 74}
    words = "860,000 delivered, 74,000 computed: 50 agents cost what 4.3 would"
    assert f"tokens     {words}\n           have cost alone" in summary(Path("run"), known, agents, "finished")
    assert "tokens     " not in summary(Path("run"), {**SCORE, "output_tokens": 860_000}, agents, "finished")


def test_energy_says_which_tokens_it_is_divided_by() -> None:
    each = {"output_token": 0.5, "computed_token": 2.0, "evaluation": 75.0, "solved_task": 300.0}
    energy: dict[str, object] = {"joules": 900.0, "source": "rapl", "joules_above_idle": 600.0}
    energy |= {f"joules_per_{what}": joules for what, joules in each.items()}
    text = " ".join(" ".join(lines(energy=energy)).split())
    assert "0.5 J per delivered token, 2 J per computed token, 75 J per evaluation, 300 J per solved task" in text


CUT: dict[str, object] = {
    "replies": 164, "cut": 12, "share": 12 / 164, "finished": 152, "finished_pass@1": 0.45,
    "finished_pass@1_interval": [0.38, 0.53], "finished_tasks": 152, "warning": "the score depends on the limit",
}  # fmt: skip


def test_cut_replies_stand_beside_the_score_with_a_warning() -> None:
    text = " ".join(" ".join(lines(truncation=CUT)).split())
    cut = "cut 12 of 164 replies (7.3 %) were cut by the limit on tokens; pass@1 of the others 45.0 % (95 % CI"
    assert f"{cut} 38.0-53.0 %) warning the score depends on the limit agents" in text
    few = {key: value for key, value in CUT.items() if key != "warning"} | {"cut": 0, "share": 0.0}
    found = lines(truncation=few)
    assert "cut        none of 164 replies was cut by the limit on tokens" in found
    assert not any(line.startswith("warning") for line in found)
    assert lines(truncation=None) == lines()


def test_thoughts_are_counted_where_there_are_some() -> None:
    thoughts = {"replies": 8200, "tokens": 246_000, "mean_tokens": 30.0}
    assert "thoughts   8,200 replies have thoughts: 246,000 tokens, 30 per reply" in lines(reasoning=thoughts)


def test_the_cost_of_a_run_is_stated_where_prices_are_known() -> None:
    cost: dict[str, object] = {"currency": "EUR", "total": 20.5, "per_evaluation": 0.0025, "per_solved_task": None}
    assert "cost       20.5 EUR, 0.0025 per evaluation" in lines(cost=cost)
    unknown = {**cost, "total": None, "undefined": {"total": "1 of 2 replies do not state their tokens"}}
    assert "cost       unknown: 1 of 2 replies do not state their tokens" in lines(cost=unknown)


def test_shared_verdicts_are_told_from_executed_programs() -> None:
    found = lines(programs_executed=3210, verdicts_shared=4800)
    assert "programs   3,210 executed; 4,800 answers share the verdict of an equal program" in found
    assert not any(line.startswith("programs") for line in lines(programs_executed=8200, verdicts_shared=0))


def test_answers_without_a_verdict_are_counted_and_explained() -> None:
    text = " ".join(" ".join(lines(failures=2, unanswered=3, unjudged=6)).split())
    assert "not judged 2 jobs failed: they got no answer; 3 jobs are not answered yet; 6 answers are not judged" in text


def test_a_run_without_an_answer_states_no_score_and_no_speed() -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ("pass@1", "pass@10", "avg_throughput_rps", "tokens_per_s", "avg_latency_s", "agents")
    )
    found = lines(**nothing, passed=0, evaluations=0, outcomes={}, intervals={"pass@1": None})
    assert found[:2] == ["pass@1     undefined: 0 of 0 answers passed, 164 tasks", "outcomes   none"]
    assert not any(line.startswith("speed") for line in found)


def test_the_process_of_the_coordinator_is_shown_on_request_only() -> None:
    assert "process    112 voluntary context switches" in lines(coordinator="112 voluntary context switches")
    assert not any(line.startswith("process") for line in lines())


def test_a_run_that_did_not_finish_says_how_to_go_on() -> None:
    assert lines("drained")[-1] == "Stopped after finishing running jobs. Repeat the command to resume."
    assert lines("failed: no disk")[-1] == "failed: no disk. Fix this, then repeat the command to resume."


@given(st.lists(st.text("abcdefg ", min_size=1, max_size=60).filter(str.strip), min_size=1).map(" ".join))
def test_lines_fit_eighty_columns_and_lose_no_word(text: str) -> None:
    found = wrapped("label", text)
    assert " ".join(" ".join(found).split()) == " ".join(f"label {text}".split())
    assert all(len(line) <= 80 for line in found)
