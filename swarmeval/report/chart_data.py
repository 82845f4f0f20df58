"""Plain data for the charts and the map of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from swarmeval.records import Outcome, Task
from swarmeval.report.agreement import Agreement
from swarmeval.report.timeline import Timeline
from swarmeval.report.words import MEANING
from swarmeval.runs.answer_index import AnswerIndex, AnswerLocation, Timings
from swarmeval.scores.latency import correlations, exponential, histogram, line
from swarmeval.scores.stats import percentile, rate
from swarmeval.watch.outcome_letters import LETTERS, OPEN, REPAIRED, WAITING

PERCENTILES = (50, 90, 95, 99)
FEWEST = 20  # answers needed for a distribution fit or a regression
LEAST_R_SQUARED = 0.25  # a regression is drawn if tokens explain a quarter of the variance in latency
DOTS = 1500  # in the scatter plot
NOT_JUDGED = -1  # the outcome of an answer that is not judged yet


def latencies(timings: Timings) -> dict[str, Any] | None:
    """Statistics of the latencies; None if too few were measured."""
    values = sorted(timings.latency_s)
    if len(values) < 2 or values[0] < 0 or not values[-1] > 0:
        return None
    columns = {
        "latency": timings.latency_s,
        "input tokens": timings.input_tokens,
        "output tokens": timings.output_tokens,
    }
    fit, straight = exponential(values), line(timings.output_tokens, timings.latency_s)
    enough = len(values) >= FEWEST
    return {
        "seen": timings.population,
        "used": len(values),
        "fewest": FEWEST,
        "histogram": histogram(values),
        "percentiles": {f"p{q}": percentile(values, q) for q in PERCENTILES},
        "fit": fit,
        "fit_is_drawn": enough and fit.p_low > 0,
        "line": straight,
        "line_is_drawn": enough and straight is not None and straight.r_squared >= LEAST_R_SQUARED,
        "correlations": correlations(columns),
    }


def latency_chart(latency: Mapping[str, Any] | None, timings: Timings) -> dict[str, Any] | None:
    """The latency data that the scripts draw."""
    if latency is None:
        return None
    step = max(1, len(timings.latency_s) // DOTS)
    bars, straight = latency["histogram"], latency["line"]
    dots = zip(timings.output_tokens[::step], timings.latency_s[::step], strict=True)
    return {
        "start": bars.start, "width": bars.width, "counts": bars.counts, "percentiles": latency["percentiles"],
        "mean": latency["fit"].mean if latency["fit_is_drawn"] else None, "dots": [[x, round(y, 4)] for x, y in dots],
        "line": [straight.slope, straight.intercept] if latency["line_is_drawn"] else None,
    }  # fmt: skip


def tasks_and_agents(
    manifest: Mapping[str, Any],
    answers: AnswerIndex,
    places: Mapping[str, Sequence[AnswerLocation]],
    tasks: Sequence[Task],
    agreements: Sequence[Agreement | None],
) -> dict[str, Any]:
    """Data of the map: each task with its share of passes and (agent, sample, round, outcome) of its answers.

    Agents and outcomes are indices into lists. `agreements` are those of the tasks in `places`.
    """
    agents = sorted({place.job.agent_id for task_places in places.values() for place in task_places})
    names = {agent["id"]: agent.get("name") for agent in manifest.get("agents", [])}
    column = {agent: index for index, agent in enumerate(agents)}
    codes = {str(name): index for index, name in enumerate(MEANING)}
    entry_points = {task.task_id: task.entry_point for task in tasks}

    def row(place: AnswerLocation) -> tuple[int, ...]:
        job = place.job
        return column[job.agent_id], job.sample, job.round, codes.get(place.outcome, NOT_JUDGED)

    return {
        "outcomes": list(codes),
        "letters": {
            "outcomes": [LETTERS[name] for name in codes],
            "waiting": WAITING,
            "open": OPEN,
            "repaired": REPAIRED,
        },
        "passed": codes[Outcome.PASSED],
        "agents": [[agent, names.get(agent) or ""] for agent in agents],
        "tasks": [
            {
                "id": task_id,
                "entry": entry_points.get(task_id, ""),
                "share": rate(*reversed(answers.counts[task_id])),
                "answers": [row(place) for place in task_places],
                "agreement": astuple(found) if found else None,
            }
            for (task_id, task_places), found in zip(places.items(), agreements, strict=True)
        ],
    }


def budgets_chart(score: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The budget curves: name, unit, and (budget, pass@1, low, high, share of replies that had ended) per point."""
    return [
        {
            "name": name.replace("_", " "),
            "unit": curve["unit"],
            "points": list(zip(*(curve[key] for key in ("budgets", "pass@1", "low", "high", "ended")), strict=True)),
        }
        for name, curve in (score.get("budgets") or {}).items()
    ]


def timeline_chart(time: Timeline) -> dict[str, Any]:
    """The series of the panels and the events drawn on them."""
    return {
        "seconds": time.seconds,
        "series": [
            [line.panel, line.name, line.unit, [[round(at, 2), float(f"{value:.5g}")] for at, value in line.points]]
            for line in time.series
        ],
        "events": [[event.at_s, event.kind, event.device, event.text] for event in time.events],
    }
