"""Cost per answer or solved task, and the speed-up over sequential generation. Pure arithmetic on score.json."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from swarmeval.records import NOT_GENERATED
from swarmeval.scores.paired import SOLVED


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one answer, pass or solved task. A value is None if it was not measured or the count is 0."""

    seconds: float | None
    tokens: float | None  # delivered
    joules: float | None
    computed_tokens: float | None


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """A run compared with answering its jobs one by one on one otherwise idle replica."""

    measured: int  # jobs answered one by one
    jobs: int  # completions of the run, in all its rounds
    sequential_s: float  # for all jobs, extrapolated from the measured ones
    run_s: float
    sequential_tokens_per_s: float | None
    run_tokens_per_s: float | None

    @property
    def speed_up(self) -> float:
        return self.sequential_s / self.run_s


def solved(counts: Iterable[tuple[int, int]]) -> int:
    """Number of tasks solved. Counts are (verdicts, passes); a task is solved if at least half of its answers pass."""
    return sum(1 for judged, passed in counts if judged and passed / judged >= SOLVED)


def cost(score: Mapping[str, Any], joules: float | None, units: int) -> Cost:
    """Divide the total cost of a run by `units`: its answers, passes or solved tasks."""
    totals = score.get("generation_s"), score.get("output_tokens"), joules, score.get("computed_tokens")
    return Cost(*(value / units if value and units else None for value in totals))


def before_after(score: Mapping[str, Any]) -> BeforeAfter | None:
    """Compare a run with its audit; None if no job was audited or the run took no time."""
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
    """Number of completions that generation_s covers. `evaluations` counts round 0 only, so repairs are added."""
    rounds = score.get("rounds")
    if not rounds:
        return int(score["evaluations"])
    return sum(one["jobs"] - one["outcomes"].get(NOT_GENERATED, 0) for one in rounds)
