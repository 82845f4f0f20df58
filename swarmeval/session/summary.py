"""What a run prints when it ends."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from swarmeval.report.run_report import NAME as REPORT
from swarmeval.report.settings_shown import is_of_replies, judging, replies
from swarmeval.report.words import number
from swarmeval.scores.missing import COUNTED_AS, FAIL
from swarmeval.scores.published import compare_with, published

log = logging.getLogger("swarmeval")


def summary(
    folder: Path,
    score: Mapping[str, object],
    manifest: Mapping[str, Any],
    reason: str,
    seconds: float,
    voluntary: int,
    involuntary: int,
    late_ms: float = 0.0,
) -> str:
    """A few lines: the score, what came of the jobs, speed, what it cost the machine, where files are.

    `late_ms` is the longest that the event loop was late.
    """
    lines = [
        f"{_rates(score)}  ({score['passed']} of {score['evaluations']} evaluations passed, {score['total']} tasks)",
        *_missing(score),
        *_certainty(score),
        *_published(score, manifest),
        *_profiles(score),
        *_base(score),
        *_rounds(score),
        *_audit(score),
        f"outcomes  {_pairs(score['outcomes'])}; {score['failures']} failures, {score['unanswered']} unanswered"
        f"{_unjudged(score)}",
        *_made_elsewhere(manifest),
        *([] if is_of_replies(manifest) else [_speed(score)]),
        f"switches  {voluntary} voluntary, {involuntary} involuntary context switches of the coordinator "
        f"({(voluntary + involuntary) / seconds:.1f}/s); event loop at most {late_ms:.0f} ms late",
        *_energy(score),
        f"results   {folder / 'score.json'}, {folder / 'agent_summary.json'}, {folder / 'agent_*_results.jsonl'}, ...",
    ]
    if (report := folder / REPORT).is_file():
        lines.append(f"report    {report}")
    if reason != "finished":
        lines.append(f"{reason}: the same command resumes this run")
    return "\n".join(lines)


def _unjudged(score: Mapping[str, object]) -> str:
    count = score["unjudged"]
    return f", {count} not judged yet: what takes long comes last, and passes less often" if count else ""


def _missing(score: Mapping[str, object]) -> list[str]:
    """Which tasks have no reply, and what that does to the score."""
    if not score.get("tasks_missing"):
        return []
    named = f"{score['tasks_missing']} tasks have no reply"
    if score["missing_counted_as"] == COUNTED_AS[FAIL]:
        return [f"warning   {named} and count as failures: {score['missing_tasks']}"]
    return [
        f"warning   {named}, and the score says nothing of them: {score['missing_tasks']}",
        "          --missing=fail counts them as failures; --num_tasks or --set task_ids says which tasks were meant",
    ]


def _made_elsewhere(manifest: Mapping[str, Any]) -> list[str]:
    """Of replies made elsewhere: which, and how they were judged. How they were made nobody here knows."""
    if not is_of_replies(manifest):
        return []
    return [
        f"replies   {replies(manifest)}; generation settings unknown",
        f"judging   {judging(manifest)}",
    ]


def _speed(score: Mapping[str, object]) -> str:
    line = f"speed     {_number(score['avg_throughput_rps'])} jobs/s, {_number(score['tokens_per_s'])} tokens/s"
    latency_s = score["avg_latency_s"]
    return line if latency_s is None else f"{line}, latency {_number(latency_s)} s on average"


def _rates(score: Mapping[str, object]) -> str:
    rates = {key: value for key, value in score.items() if key.startswith("pass@")}
    return "  ".join(f"{key} {_percent(value)}" for key, value in rates.items())


def _certainty(score: Mapping[str, object]) -> list[str]:
    """The interval of pass@1, and how far agents lie apart."""
    intervals, agents = score["intervals"], score["agents"]
    assert isinstance(intervals, Mapping)
    if intervals["pass@1"] is None:
        return []
    low, high = intervals["pass@1"]
    line = f"certainty pass@1 {100 * low:.1f} to {100 * high:.1f} % (95 %, over tasks)"
    if isinstance(agents, Mapping):
        line += f"; agents: lowest {_percent(agents['min'])}, highest {_percent(agents['max'])}"
    return [line]


def _published(score: Mapping[str, object], manifest: Mapping[str, Any]) -> list[str]:
    """What others found for this model, a line each; nothing where only a part of the benchmark was run."""
    interval, prompts = cast(Mapping[str, Any], score["intervals"])["pass@1"], manifest.get("prompts")
    if interval is None or prompts is None or score["total"] != manifest["data"]["tasks_in_all"]:
        return []
    lines = []
    for entry in published(str(score["model_id"]), str(score["benchmark"])):
        ours, mode = cast(float, score["pass@1"]), prompts["prompt_mode"]
        comparison = compare_with(entry, ours, interval, manifest["config"], mode)
        differs = ", ".join(f"{key} {here} for {there}" for key, (here, there) in comparison["differs"].items())
        where = "within" if comparison["within_interval"] else "outside"
        lines.append(
            f"published {_percent(entry.pass_at_1)} ({entry.harness}): {100 * comparison['difference']:+.1f} points, "
            f"{where} the interval{f'; here {differs}' if differs else ''}"
        )
    return lines


def _profiles(score: Mapping[str, object]) -> list[str]:
    """A line a profile, where there are any, and one of what they find together."""
    profiles, unions = score.get("profiles", {}), score.get("unions", {})
    assert isinstance(profiles, Mapping)
    assert isinstance(unions, Mapping)
    lines = []
    for name, profile in profiles.items():
        low, high = profile["pass@1_interval"]
        around = f"({100 * low:.1f} to {100 * high:.1f} %)"
        lines.append(f"profile   {name}: pass@1 {_percent(profile['pass@1'])} {around}, {profile['agents']} agents")
    if unions and (together := list(unions.values())[-1])["pass@1_each"] is not None:
        low, high = together["pass@1_each_interval"]
        around = f"({100 * low:.1f} to {100 * high:.1f} %)"
        lines.append(f"union     an answer of each: at least one passes {_percent(together['pass@1_each'])} {around}")
    return lines


def _base(score: Mapping[str, object]) -> list[str]:
    """Of self-invoking tasks, what came of the problems they build upon."""
    base = score.get("base")
    if not isinstance(base, Mapping):
        return []
    replies = base["replies"]
    return [
        f"base      pass@1 {_percent(base['pass@1'])} of {base['total']} base problems; "
        f"{replies['base_only']} replies solve the base problem and not the new one"
    ]


def _rounds(score: Mapping[str, object]) -> list[str]:
    """A line a round of repairs: what stands after it, and what it cost."""
    lines = []
    for entry in cast(list[Mapping[str, Any]], score.get("rounds", []))[1:]:
        low, high = entry["pass@1_interval"]
        lines.append(
            f"repair {entry['round']:<3}pass@1 {_percent(entry['pass@1'])} ({100 * low:.1f} to {100 * high:.1f} %); "
            f"{entry['jobs']} answers, {entry['outcomes'].get('PASSED', 0)} passed, {entry['output_tokens']:,} tokens"
        )
    return lines


def _audit(score: Mapping[str, object]) -> list[str]:
    """What came of the jobs that were answered once more, one by one."""
    audit = cast(Mapping[str, Any] | None, score.get("batch_audit"))
    if audit is None:
        return []
    return [
        f"audit     {audit['jobs']} jobs answered again, one by one: {audit['replies_changed']} replies and "
        f"{audit['verdicts_changed']} verdicts differ; {_number(audit['tokens_per_s'])} tokens/s"
    ]


def _energy(score: Mapping[str, object]) -> list[str]:
    """What the run drew, where that could be measured."""
    energy = cast(Mapping[str, Any] | None, score.get("energy"))
    if energy is None:
        return []
    line = f"energy    {energy['joules']:,.0f} J ({energy['source']})"
    if energy["joules_above_idle"] is None:
        return [f"{line}; the idle machine was not measured"]
    each = (("output_token", "token"), ("evaluation", "evaluation"), ("solved_task", "solved task"))
    shares = [f"{_number(energy[f'joules_per_{key}'])} J a {word}" for key, word in each]
    return [
        f"{line}, {energy['joules_above_idle']:,.0f} J above idle: {', '.join(shares)}".replace(
            " a evaluation", " an evaluation"
        )
    ]


def _percent(value: object) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, float) else "undefined"


def _number(value: object) -> str:
    return number(value) if isinstance(value, float | int) else "no"


def _pairs(counts: object) -> str:
    assert isinstance(counts, Mapping)
    return ", ".join(f"{key} {count}" for key, count in counts.items()) or "none"
