"""The lines that a run ends with."""

from pathlib import Path

from commands.summary import summary


def test_speeds_are_written_as_people_write_numbers() -> None:
    score = {
        "pass@1": 0.5, "passed": 4100, "evaluations": 8200, "total": 164, "intervals": {"pass@1": None}, "agents": None,
        "outcomes": {}, "failures": 0, "unanswered": 0, "avg_throughput_rps": 9.6953, "tokens_per_s": 1743.43,
        "avg_latency_s": None,
    }  # fmt: skip
    lines = summary(Path("run"), score, {}, "finished", 60.0, 1, 2).splitlines()
    assert "speed     9.7 jobs/s, 1,743 tokens/s, latency no s on average" in lines
