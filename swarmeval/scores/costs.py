"""What a solved task cost, and what answering one job after another would have cost. Pure arithmetic on score.json."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from swarmeval.records import NOT_GENERATED
from swarmeval.scores.paired import SOLVED


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one thing; None where it was not measured or there is no such thing."""

    seconds: float | None
    tokens: float | None
    joules: float | None


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """A run beside its jobs answered one by one, on one replica with nothing else to do."""

    measured: int  # jobs that were answered so
    jobs: int  # that the run answered, in all its rounds
    sequential_s: float  # for all jobs, extrapolated from the measured ones
    run_s: float
    sequential_tokens_per_s: float | None
    run_tokens_per_s: float | None

    @property
    def speed_up(self) -> float:
        return self.sequential_s / self.run_s


def solved(counts: Iterable[tuple[int, int]]) -> int:
    """Of tasks with (verdicts, passes), how many are solved: at least half of their answers pass."""
    return sum(1 for judged, passed in counts if judged and passed / judged >= SOLVED)


def cost(score: Mapping[str, Any], joules: float | None, units: int) -> Cost:
    """Of each of `units` answers, passes or solved tasks, of all that the run took."""
    seconds, tokens = score.get("generation_s"), score.get("output_tokens")
    return Cost(*(value / units if value and units else None for value in (seconds, tokens, joules)))


def before_after(score: Mapping[str, Any]) -> BeforeAfter | None:
    """None where no job was answered alone, or the run took no time."""
    audit, run_s = score.get("batch_audit"), score.get("generation_s")
    if not audit or not audit["jobs"] or not run_s or not audit["avg_latency_s"]:
        return None
    jobs = _answered(score)
    return BeforeAfter(
        measured=audit["jobs"],
        jobs=jobs,
        sequential_s=jobs * audit["avg_latency_s"],
        run_s=run_s,
        sequential_tokens_per_s=audit["tokens_per_s"],
        run_tokens_per_s=score.get("tokens_per_s"),
    )


def _answered(score: Mapping[str, Any]) -> int:
    """The completions that generation_s was spent on; where a run repairs, `evaluations` are its first round's only."""
    rounds = score.get("rounds")
    if not rounds:
        return int(score["evaluations"])
    return sum(one["jobs"] - one["outcomes"].get(NOT_GENERATED, 0) for one in rounds)
