"""Sentences and table rows of a report: the score, its interval, the work done, and missing parts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from swarmeval.records import NOT_GENERATED, Outcome
from swarmeval.runs.answer_index import AnswerIndex
from swarmeval.scores.costs import before_after, cost, solved
from swarmeval.scores.missing import UNSOLVED, named
from swarmeval.scores.other_harnesses import UnderRule, tasks_of
from swarmeval.scores.published import compare_with, published
from swarmeval.scores.reasoning import reasoning_in_words
from swarmeval.scores.sharing import tokens_in_words
from swarmeval.scores.stats import pass_at_k

MEANING = {
    Outcome.PASSED: "All tests of the task passed",
    Outcome.WRONG_ANSWER: "An assertion of the tests failed",
    Outcome.RAISED: "The program raised an exception",
    Outcome.TIMED_OUT: "Time limit exceeded",
    Outcome.OUT_OF_MEMORY: "Memory limit exceeded",
    Outcome.BAD_SYNTAX: "The code does not parse",
    Outcome.EMPTY: "The reply contains no code",
    Outcome.CRASHED: "The interpreter crashed with no output",
    Outcome.TAMPERED: "The program interfered with its own judging",
    NOT_GENERATED: "No reply was generated; never counted as a wrong answer",
}
MOST_POINTS = 40  # on the pass@k curve


def percent(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def between(bounds: Sequence[float]) -> str:
    low, high = bounds
    return f"{100 * low:.1f} to {percent(high)}"


def duration(seconds: float | None) -> str:
    """A duration in seconds, minutes, hours or days; "not measured" for None."""
    if seconds is None:
        return "not measured"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:,.3g} h" if seconds < 172_800 else f"{seconds / 86_400:,.3g} days"


def number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "not measured"
    shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{shown} {unit}".rstrip()


def interval_words(score: Mapping[str, Any]) -> str:
    """The interval of pass@1 as a sentence."""
    interval = score["intervals"]["pass@1"]
    if interval is None:
        return "No answer has been judged yet, so there is no score."
    low, high = interval
    return (
        f"95 % CI {100 * low:.1f}-{percent(high)}. A different sample of similar tasks could plausibly give any score "
        "in this range. Smaller differences between two runs may be due to chance."
    )


def completeness(manifest: Mapping[str, Any], answers: AnswerIndex, planned: int | None) -> tuple[str, str]:
    """("complete" or "partial", a sentence that names the missing parts). `planned`: the number of jobs, if known."""
    of = f" of {planned:,}" if planned else ""
    if not manifest.get("finished"):
        last = manifest["sessions"][-1] if manifest["sessions"] else {}
        is_open = last.get("ended_at") is None
        if not is_open and last.get("reason") == "finished":  # `score --extractors` was interrupted
            return "partial", (
                "All answers were judged, but the comparison with other rules is not finished. "
                "Repeat the command to resume."
            )
        how = "still running or killed" if is_open else str(last.get("reason"))
        sentence = f"The run is not finished ({how}): {answers.answered:,}{of} jobs are answered."
        unjudged = answers.answered - answers.failures - answers.judged
        if unjudged > 0:
            sentence += f" {unjudged:,} of them are not judged yet: slow programs, which pass less often, come last."
        return "partial", sentence
    missing = missing_words(manifest)
    if answers.failures:
        return (
            "partial",
            f"{answers.failures:,} of {answers.answered:,} jobs got no completion; they are not counted as wrong "
            f"answers.{missing}",
        )
    if answers.judged < answers.answered:
        return "partial", f"{answers.answered - answers.judged:,} answers are not judged.{missing}"
    status = "partial" if missing and not failed_tasks(manifest) else "complete"
    return status, f"All {answers.answered:,} answers were judged.{missing}"


def missing_words(manifest: Mapping[str, Any]) -> str:
    """A sentence, with a leading space, on tasks without an imported reply; "" if every task has one."""
    tasks = missing_tasks(manifest)
    if not tasks:
        return ""
    effect = " and count as unsolved" if failed_tasks(manifest) else "; the score does not cover them"
    return f" {len(tasks):,} tasks have no reply{effect}: {named(tasks)}."


def missing_tasks(manifest: Mapping[str, Any]) -> list[str]:
    tasks = manifest.get("replies", {}).get("missing_tasks", [])
    return [str(task) for task in tasks] if isinstance(tasks, list) else []


def failed_tasks(manifest: Mapping[str, Any]) -> int:
    """Number of tasks without a reply that count as unsolved."""
    failed = manifest.get("replies", {}).get("missing_counted_as") in UNSOLVED
    return len(missing_tasks(manifest)) if failed else 0


def what_ran(manifest: Mapping[str, Any], answers: AnswerIndex) -> str:
    """The numbers of tasks, agents and answers, in words."""
    tasks, agents = len(answers.counts), len(answers.agents)
    in_all = manifest.get("data", {}).get("tasks_in_all")
    of = f" of {in_all}" if in_all and in_all != tasks else ""
    return (
        f"{tasks:,}{of} task{'s' * (tasks != 1)}, {agents:,} agent{'s' * (agents != 1)}, "
        f"{answers.answered:,} answer{'s' * (answers.answered != 1)}"
    )


def outcomes(answers: AnswerIndex) -> list[dict[str, Any]]:
    """Every outcome with its count, its share of all outcomes and its meaning."""
    total = answers.outcomes.total()
    return [
        {"name": str(name), "count": (count := answers.outcomes[name]), "share": count / total if total else 0.0,
         "meaning": meaning}
        for name, meaning in MEANING.items()
    ]  # fmt: skip


def pass_curve(counts: Sequence[tuple[int, int]]) -> list[tuple[int, float]]:
    """At most MOST_POINTS pairs (k, pass@k), up to the smallest number of answers per task. Counts are (n, c)."""
    judged = [(n, c) for n, c in counts if n]
    fewest = min((n for n, _ in judged), default=0)
    steps = {round(fewest ** (step / (MOST_POINTS - 1))) for step in range(MOST_POINTS)} if fewest else set()
    return [(k, math.fsum(pass_at_k(n, c, k) for n, c in judged) / len(judged)) for k in sorted(steps)]


def window(score: Mapping[str, Any]) -> str:
    """The release dates of a dated benchmark's tasks, as the end of a title; "" for other benchmarks."""
    return f", tasks of {score['released']}" if score.get("released") else ""


def others(score: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Published scores of this model compared with this run; empty if only part of the benchmark was run."""
    interval, prompts = score["intervals"]["pass@1"], manifest.get("prompts")
    if interval is None or prompts is None or score["total"] != manifest.get("data", {}).get("tasks_in_all"):
        return []
    comparisons = []
    for entry in published(str(score["model_id"]), str(score["benchmark"])):
        ours = compare_with(entry, score["pass@1"], interval, manifest["config"], prompts["prompt_mode"])
        low, high = (100 * (bound - entry.pass_at_1) for bound in interval)
        comparisons.append({
            **ours, "score": percent(entry.pass_at_1), "points": f"{100 * ours['difference']:+.1f}",
            "around": f"{low:+.1f} to {high:+.1f}",
            "settings": ", ".join(f"{key}: {own} here, {theirs} there"
                                  for key, (own, theirs) in ours["differs"].items()),
        })  # fmt: skip
    return comparisons


def under_rules(rows: Sequence[UnderRule]) -> list[dict[str, Any]]:
    """The score under each extraction rule, and the verdicts that differ from ours; the first row is ours."""
    table = []
    for one in rows:
        lost, gained = rows[0].passed - one.passed, one.passed - rows[0].passed
        table.append({
            "name": one.name, "pass_at_1": one.pass_at_1, "interval": one.interval, "is_ours": one is rows[0],
            "passes": f"{len(one.passed):,}" + (f" of {one.replies:,}" if one.replies is not None else ""),
            "differ": f"{len(lost) + len(gained):,}",
            "how": "; ".join(f"{what} {len(jobs):,}: {tasks_of(jobs)}"
                             for what, jobs in (("loses", lost), ("finds", gained)) if jobs),
        })  # fmt: skip
    return table


def costs(score: Mapping[str, Any], answers: AnswerIndex, joules: float | None) -> list[dict[str, str]]:
    """Costs per answer, per passing answer and per solved task. Time and tokens include all repair rounds."""
    units = {
        "answer": answers.judged,
        "passing answer": answers.passes,
        "solved task": solved(answers.counts.values()),
    }
    rows = []
    for name, count in units.items():
        of = cost(score, joules, count)
        price = score.get("cost") or {"total": None}
        rows.append({
            "name": name, "count": f"{count:,}",
            "seconds": duration(of.seconds) if count else "none", "tokens": number(of.tokens) if count else "none",
            "computed": "" if of.computed_tokens is None else number(of.computed_tokens),
            "joules": number(of.joules, "J") if count else "none",
            "money": "" if price["total"] is None or not count
                     else number(price["total"] / count, price["currency"]),
        })  # fmt: skip
    return rows


def shared(score: Mapping[str, Any], answers: AnswerIndex) -> str:
    """A sentence on delivered and computed tokens; "" if the latter are unknown."""
    words = tokens_in_words(score, len(answers.agents))
    return f"Output tokens: {words}." if words else ""


def reasoning(score: Mapping[str, Any]) -> str:
    """A sentence on the tokens of thoughts; "" without thoughts."""
    facts = score.get("reasoning")
    return f"{reasoning_in_words(facts)}." if facts else ""


def sequential(score: Mapping[str, Any]) -> dict[str, Any] | None:
    """The comparison with one job at a time; None if no jobs were audited."""
    comparison = before_after(score)
    if comparison is None:
        return None
    return {
        "measured": comparison.measured,
        "speed_up": f"{comparison.speed_up:.3g}",
        "rows": [
            ("time for all jobs", f"{duration(comparison.sequential_s)} (extrapolated)", duration(comparison.run_s)),
            (
                "jobs per second",
                number(comparison.jobs / comparison.sequential_s),
                number(comparison.jobs / comparison.run_s),
            ),
            (
                "delivered tokens per second",
                number(comparison.sequential_tokens_per_s),
                number(comparison.run_tokens_per_s),
            ),
        ],
    }
