"""`python main.py compare A B`: compares two runs on the same tasks, in total and by task."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from swarmeval.commands.output import say
from swarmeval.runs.finished_run import EndedRun, comparable, differing
from swarmeval.scores.gates import FAILED, REGRESSION
from swarmeval.scores.paired import Paired, paired
from swarmeval.scores.truncation import cut_in_words
from swarmeval.watch.progress_text import percent

SHOWN = 12  # tasks listed per kind
SIGNIFICANT = 0.05  # p below which a difference is called significant
MCNEMAR = (
    "       McNemar's test counts only the tasks that exactly one run solves. p is the\n"
    "       probability of a split at least this uneven if both runs are equally good."
)
MEASURED = (
    ("tokens/s", "tokens_per_s", "{:,.0f}"), ("jobs/s", "avg_throughput_rps", "{:.2f}"),
    ("latency, s", "avg_latency_s", "{:.1f}"), ("tokens", "output_tokens", "{:,}"),
    ("computed", "computed_tokens", "{:,}"), ("failures", "failures", "{}"),
)  # fmt: skip


def compare(options: argparse.Namespace) -> int:
    """Print the comparison; return 0, or FAILED for a regression under --fail-on.

    Raises DataError if a folder holds no run or the runs are not comparable.
    """
    one, other = comparable(Path(options.a), Path(options.b))
    result = paired(one.shares, other.shares)
    say("\n".join(lines(one, other, result)))
    if options.fail_on == REGRESSION and result.interval[1] < 0:
        points = f"{100 * result.difference:+.1f} points of pass@1"
        print(f"swarmeval: B is worse than A ({points}, 95 % CI below zero); --fail-on {REGRESSION}", file=sys.stderr)
        return FAILED
    return 0


def lines(one: EndedRun, other: EndedRun, result: Paired) -> Iterator[str]:
    yield finding(result)
    yield f"\nA  {one.folder}  ({one.run_id})"
    yield f"B  {other.folder}  ({other.run_id})"
    for key, (left, right) in differing(one, other).items():
        yield f"   {key}: A {left}, B {right}"
    for name, run in (("A", one), ("B", other)):
        if missing := run.score.get("tasks_missing"):
            yield f"   {name}: {missing} tasks have no reply and count as {run.score.get('missing_counted_as')}"
    yield f"\n{'':12}{'A':>22}{'B':>22}"
    yield row("pass@1", rate(one, "pass@1"), rate(other, "pass@1"))
    yield from truncation_rows(one, other)
    yield row("pass@10", *(percent_or_dash(run.score.get("pass@10")) for run in (one, other)))
    for name, key, form in MEASURED:
        if key != "computed_tokens" or key in {**one.score, **other.score}:
            yield row(name, shown(one.score.get(key), form), shown(other.score.get(key), form))
    drafts = [run.score.get("speculation", {}).get("acceptance_rate") for run in (one, other)]
    if drafts != [None, None]:
        yield row("accepted", *(percent_or_dash(share) for share in drafts))
    yield row("memory, MB", shown(one.memory_mb, "{:,.0f}"), shown(other.memory_mb, "{:,.0f}"))
    if costs := {run.score["cost"]["currency"] for run in (one, other) if run.score.get("cost")}:
        yield row(f"cost, {'/'.join(sorted(costs))}", *(shown(cost_of(run), "{:,.4g}") for run in (one, other)))
    yield row("energy, Wh", shown(one.energy_wh, "{:.1f}"), shown(other.energy_wh, "{:.1f}"))
    low, high = result.interval
    verdict = "B is better" if low > 0 else "A is better" if high < 0 else "the difference may be due to chance"
    verdict = verdict if result.most else "no task differs"
    yield (
        f"\nB - A  {100 * result.difference:+.1f} points of pass@1, 95 % CI {100 * low:+.1f} to "
        f"{100 * high:+.1f} (paired over {result.tasks} tasks): {verdict}"
    )
    yield (
        f"flips  B gains {len(result.gained)} tasks and loses {len(result.lost)} "
        f"(solved: at least half of the answers pass); exact McNemar p = {result.p_value:.2g}"
    )
    yield MCNEMAR
    low, high = result.union_interval
    yield f"union  one answer per run, at least one passes: {percent(result.union)} ({100 * low:.1f}-{100 * high:.1f})"
    yield from tasks("gained", result.gained)
    yield from tasks("lost", result.lost)
    if result.most:
        most = [f"{task} {100 * left:.0f} % -> {100 * right:.0f} %" for task, left, right in result.most[:SHOWN]]
        yield f"largest differences: {', '.join(most)}"


def truncation_rows(one: EndedRun, other: EndedRun) -> Iterator[str]:
    """The share of cut replies and pass@1 of the finished ones, where the replies say how they ended."""
    found = [run.score.get("truncation") for run in (one, other)]
    if found != [None, None]:
        yield row("of finished", *(percent_or_dash(facts and facts["finished_pass@1"]) for facts in found))
        yield row("cut replies", *(percent_or_dash(facts and facts["share"]) for facts in found))
    for name, facts in zip("AB", found, strict=True):
        if facts and "warning" in facts:
            yield f"warning  {name}: {cut_in_words(facts)}"


def finding(result: Paired) -> str:
    """The result of the comparison in one sentence."""
    gained, lost = len(result.gained), len(result.lost)
    if not gained and not lost:
        return f"A and B solve the same of {result.tasks} tasks: McNemar's test has nothing to compare."
    more = gained - lost
    what = (
        f"A and B solve equally many of {result.tasks} tasks, though not the same ones"
        if not more
        else f"B solves {abs(more)} {'more' if more > 0 else 'fewer'} of {result.tasks} tasks than A"
    )
    is_not = "is" if result.p_value < SIGNIFICANT else "is not"
    return f"{what}; the difference {is_not} significant: McNemar p = {result.p_value:.2g}."


def row(name: str, one: str, other: str) -> str:
    return f"{name:12}{one:>22}{other:>22}"


def rate(run: EndedRun, key: str) -> str:
    """A score with its interval, or "-"."""
    interval = run.score.get("intervals", {}).get(key)
    around = f" ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})" if interval else ""
    return percent_or_dash(run.score.get(key)) + around


def percent_or_dash(value: object) -> str:
    return percent(value) if isinstance(value, float) else "-"


def cost_of(run: EndedRun) -> float | None:
    cost = run.score.get("cost")
    return cost["total"] if cost else None


def shown(value: object, form: str) -> str:
    return "-" if value is None else form.format(value)


def tasks(name: str, task_ids: tuple[str, ...]) -> Iterator[str]:
    if task_ids:
        more = f", and {len(task_ids) - SHOWN} more" if len(task_ids) > SHOWN else ""
        yield f"{name:7}{', '.join(task_ids[:SHOWN])}{more}"
