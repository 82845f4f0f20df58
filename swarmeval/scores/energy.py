"""Energy of a run in joules, in total and per token, answer and solved task. Pure arithmetic; measures nothing."""

from collections.abc import Iterable, Mapping

from swarmeval.scores.costs import solved


def energy(
    joules: Mapping[str, float],
    idle_w: Mapping[str, float],
    watched_s: float,
    output_tokens: int,
    evaluations: int,
    counts: Iterable[tuple[int, int]],
    computed_tokens: int | None = None,
) -> dict[str, object] | None:
    """The energy entry of score.json; None if nothing was measured.

    `joules` and `idle_w` are per source, `counts` are (verdicts, passes) per task. Energy per token, evaluation and
    solved task excludes idle power. It is None if idle power is unknown or the count is 0. `output_tokens` are those
    delivered; energy per computed token is left out if their number is unknown.
    """
    if not joules:
        return None
    drawn = sum(joules.values())
    known = all(source in idle_w for source in joules)
    idle = sum(idle_w[source] for source in joules) if known else None
    above = None if idle is None else drawn - idle * watched_s
    computed = {} if computed_tokens is None else {"joules_per_computed_token": _per(above, computed_tokens)}
    return {
        "joules": drawn,
        "watched_s": watched_s,
        "idle_w": idle,
        "joules_above_idle": above,
        "joules_per_output_token": _per(above, output_tokens),
        **computed,
        "joules_per_evaluation": _per(above, evaluations),
        "joules_per_solved_task": _per(above, solved(counts)),
        "source": "+".join(joules),
    }


Drawn = tuple[Mapping[str, float], float]  # joules per source, seconds measured


def between(before: Drawn, after: Drawn, idle_w: Mapping[str, float]) -> float | None:
    """Joules above idle between two readings; None if no source is in both readings, or its idle power is unknown."""
    sources = set(before[0]) & set(after[0])
    if not sources or not sources <= set(idle_w):
        return None
    seconds = after[1] - before[1]
    return sum(after[0][source] - before[0][source] - idle_w[source] * seconds for source in sources)


def _per(joules: float | None, count: int) -> float | None:
    return None if joules is None or not count else joules / count
