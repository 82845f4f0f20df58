"""The lines that a run ends with."""

from pathlib import Path

from swarmeval.session.summary import summary

SCORE = {
    "pass@1": 0.5, "passed": 4100, "evaluations": 8200, "total": 164, "intervals": {"pass@1": None}, "agents": None,
    "outcomes": {}, "failures": 0, "unanswered": 0, "unjudged": 0, "avg_throughput_rps": 9.6953,
    "tokens_per_s": 1743.43, "avg_latency_s": 65.12,
}  # fmt: skip


def lines(**changed: object) -> list[str]:
    return summary(Path("run"), {**SCORE, **changed}, {}, "finished", 60.0, 1, 2).splitlines()


def test_speeds_are_written_as_people_write_numbers() -> None:
    assert "speed     9.7 jobs/s, 1,743 tokens/s, latency 65.1 s on average" in lines()


def test_a_score_says_how_many_verdicts_it_lacks_and_which() -> None:
    assert "outcomes  none; 0 failures, 0 unanswered" in lines()
    said = (
        "outcomes  none; 0 failures, 0 unanswered, 6 not judged yet: what takes long comes last, and passes less often"
    )
    assert said in lines(unjudged=6)


def test_a_run_without_an_answer_has_no_speed_and_says_nothing_of_latency() -> None:
    nothing = dict.fromkeys(("avg_throughput_rps", "tokens_per_s", "avg_latency_s"))
    assert "speed     no jobs/s, no tokens/s" in lines(**nothing)
