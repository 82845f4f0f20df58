"""The summary that a run prints when it ends."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from swarmeval.report.run_report import NAME as REPORT
from swarmeval.report.settings_shown import is_of_replies, judging, replies, weights
from swarmeval.scores.missing import UNSOLVED
from swarmeval.scores.published import compare_with, published
from swarmeval.scores.speculation import in_words
from swarmeval.scores.truncation import cut_in_words
from swarmeval.session.ending import DRAINED, FINISHED, STOPPED
from swarmeval.session.summary_costs import Labelled, cost, counted, energy, reasoning, speed

COLUMNS, LABEL = 80, 11
ENDINGS = {
    DRAINED: "Stopped after finishing running jobs. Repeat the command to resume.",
    STOPPED: "Stopped. Repeat the command to resume.",
}


def summary(
    folder: Path,
    score: Mapping[str, object],
    manifest: Mapping[str, Any],
    reason: str,
    coordinator: str = "",
) -> str:
    """The score with its interval and counts first, then outcomes, speed, cost and files, in lines of 80 columns.

    `coordinator`: a line about the coordinator's own process, if it is wanted.
    """
    labelled = [
        ("pass@1", _pass_at_1(score, manifest)),
        *_largest_k(score),
        *_truncation(score),
        *_missing(score),
        *_agents(score),
        *_published(score, manifest),
        *_profiles(score),
        *_base(score),
        *_rounds(score),
        *_audit(score),
        ("outcomes", _outcomes(score)),
        *_unconfirmed(score),
        *_toolchains(manifest),
        *_programs(score),
        *_without_verdict(score),
        *_imported(manifest),
        *([] if is_of_replies(manifest) else speed(score, len(manifest.get("agents", ())))),
        *reasoning(score),
        *([("drafts", drafts)] if (drafts := in_words(score)) else []),
        *energy(score),
        *cost(score),
        *([("weights", shown)] if (shown := weights(manifest)) not in (None, "none") else []),
        *([("process", coordinator)] if coordinator else []),
        ("files", f"{folder / 'score.json'} and others beside it"),
    ]
    if (report := folder / REPORT).is_file():
        labelled.append(("report", str(report)))
    lines = [line for label, text in labelled for line in wrapped(label, text)]
    if reason != FINISHED:
        lines.append(ENDINGS.get(reason, f"{reason}. Fix this, then repeat the command to resume."))
    return "\n".join(lines)


def wrapped(label: str, text: str) -> list[str]:
    """A label and its text, in lines of 80 columns."""
    return textwrap.wrap(
        text, COLUMNS, initial_indent=f"{label:<{LABEL}}", subsequent_indent=" " * LABEL, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _pass_at_1(score: Mapping[str, object], manifest: Mapping[str, Any]) -> str:
    data = manifest.get("data", {})
    all_tasks = data.get("tasks_in_all", score["total"])
    tasks = (
        f"{all_tasks} task{'s' * (all_tasks != 1)}"
        if score["total"] == all_tasks
        else f"{score['total']} of {all_tasks} tasks"
    )
    released = f" of {data['released']}" if data.get("released") else ""
    counts = f"{score['passed']} of {score['evaluations']} answers passed, {tasks}{released}"
    if not isinstance(score["pass@1"], float):
        return f"undefined: {counts}"
    return f"{_percent(score['pass@1'])}{_interval(cast(Mapping[str, Any], score['intervals'])['pass@1'])}; {counts}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f" (95 % CI {100 * bounds[0]:.1f}-{100 * bounds[1]:.1f} %)"


def _largest_k(score: Mapping[str, object]) -> list[Labelled]:
    """pass@k for the largest k that the number of samples allows."""
    defined = [key for key, value in score.items() if key.startswith("pass@") and isinstance(value, float)]
    largest = max(defined, key=lambda key: int(key.partition("@")[2]), default="pass@1")
    if largest == "pass@1":
        return []
    bounds = cast(Mapping[str, Any], score["intervals"]).get(largest)
    return [(largest, f"{_percent(score[largest])}{_interval(bounds)}")]


def _truncation(score: Mapping[str, object]) -> list[Labelled]:
    """The share of replies that the limit on tokens cut, pass@1 of the others, and a warning if the share is large."""
    facts = cast(Mapping[str, Any] | None, score.get("truncation"))
    if facts is None:
        return []
    text = cut_in_words(facts)
    if facts["cut"] and facts["finished"]:
        around = _interval(facts["finished_pass@1_interval"])
        text += f"; pass@1 of the others {_percent(facts['finished_pass@1'])}{around}"
    return [("cut", text), *([("warning", facts["warning"])] if "warning" in facts else [])]


def _agents(score: Mapping[str, object]) -> list[Labelled]:
    agents = score["agents"]
    if not isinstance(agents, Mapping):
        return []
    return [("agents", f"lowest pass@1 {_percent(agents['min'])}, highest {_percent(agents['max'])}")]


def _outcomes(score: Mapping[str, object]) -> str:
    """The outcomes, the most frequent first."""
    outcomes = cast(Mapping[str, int], score["outcomes"])
    ordered = sorted(outcomes.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name}" for name, count in ordered) or "none"


def _unconfirmed(score: Mapping[str, object]) -> list[Labelled]:
    """The number of verdicts of tests that a program could deceive."""
    number = score.get("unconfirmed")
    text = f"{number} verdicts: the tests ran in the program's own process, which can deceive them"
    return [("caution", text)] if number else []


def _toolchains(manifest: Mapping[str, Any]) -> list[Labelled]:
    """The versions of the toolchains of executed programs."""
    return [("toolchain", version) for version in manifest.get("toolchains", {}).values()]


def _programs(score: Mapping[str, object]) -> list[Labelled]:
    """The number of programs that were executed, if verdicts are shared."""
    if not score.get("verdicts_shared"):
        return []
    executed, shared = score["programs_executed"], score["verdicts_shared"]
    return [("programs", f"{executed:,} executed; {shared:,} answers share the verdict of an equal program")]


def _without_verdict(score: Mapping[str, object]) -> list[Labelled]:
    """The jobs without an answer and the answers without a verdict."""
    parts = []
    if score["failures"]:
        parts.append(f"{score['failures']} jobs failed: they got no answer")
    if score["unanswered"]:
        parts.append(f"{score['unanswered']} jobs are not answered yet")
    if score["unjudged"]:
        parts.append(f"{score['unjudged']} answers are not judged yet: slow programs, which pass less often, come last")
    return [("not judged", "; ".join(parts))] if parts else []


def _missing(score: Mapping[str, object]) -> list[Labelled]:
    """A warning of tasks without a reply, and their effect on the score."""
    if not score.get("tasks_missing"):
        return []
    named = f"{score['tasks_missing']} tasks have no reply"
    if score["missing_counted_as"] in UNSOLVED:
        return [("warning", f"{named} and count as unsolved: {score['missing_tasks']}")]
    return [
        ("warning", f"{named}; the score does not cover them: {score['missing_tasks']}"),
        ("", "--missing=fail counts them as unsolved; --num_tasks or --set task_ids says which tasks were meant"),
    ]


def _imported(manifest: Mapping[str, Any]) -> list[Labelled]:
    """The file of imported replies, and how they were judged."""
    if not is_of_replies(manifest):
        return []
    return [("replies", f"{replies(manifest)}; generation settings unknown"), ("judging", judging(manifest))]


def _published(score: Mapping[str, object], manifest: Mapping[str, Any]) -> list[Labelled]:
    """Published scores of this model, if the whole benchmark was run."""
    interval, prompts = cast(Mapping[str, Any], score["intervals"])["pass@1"], manifest.get("prompts")
    if interval is None or prompts is None or score["total"] != manifest["data"]["tasks_in_all"]:
        return []
    lines: list[Labelled] = []
    for entry in published(str(score["model_id"]), str(score["benchmark"])):
        ours, mode = cast(float, score["pass@1"]), prompts["prompt_mode"]
        comparison = compare_with(entry, ours, interval, manifest["config"], mode)
        differs = ", ".join(f"{key} {here} for {there}" for key, (here, there) in comparison["differs"].items())
        where = "within" if comparison["within_interval"] else "outside"
        text = f"{_percent(entry.pass_at_1)} ({entry.harness}): {100 * comparison['difference']:+.1f} points, "
        lines.append(("published", f"{text}{where} the interval{f'; here {differs}' if differs else ''}"))
    return lines


def _profiles(score: Mapping[str, object]) -> list[Labelled]:
    """One line per profile of agents, and one for their union."""
    profiles, unions = score.get("profiles", {}), score.get("unions", {})
    assert isinstance(profiles, Mapping)
    assert isinstance(unions, Mapping)
    lines: list[Labelled] = []
    for name, profile in profiles.items():
        shown = f"{_percent(profile['pass@1'])}{_interval(profile['pass@1_interval'])}"
        agents = f"{profile['agents']} agent{'s' * (profile['agents'] != 1)}"
        lines.append(("profile", f"{name}: pass@1 {shown}, {agents}"))
    if unions and (together := list(unions.values())[-1])["pass@1_each"] is not None:
        shown = f"{_percent(together['pass@1_each'])}{_interval(together['pass@1_each_interval'])}"
        lines.append(("union", f"one answer per profile, at least one passes: {shown}"))
    return lines


def _base(score: Mapping[str, object]) -> list[Labelled]:
    """For self-invoking tasks, the score on the problems that they build upon."""
    base = score.get("base")
    if not isinstance(base, Mapping):
        return []
    replies = base["replies"]
    text = f"pass@1 {_percent(base['pass@1'])} of {base['total']} base problems; "
    return [("base", f"{text}{replies['base_only']} replies solve the base problem and not the new one")]


def _rounds(score: Mapping[str, object]) -> list[Labelled]:
    """One line per round of repairs: the score after it, and its cost."""
    lines: list[Labelled] = []
    for entry in cast(list[Mapping[str, Any]], score.get("rounds", []))[1:]:
        text = f"pass@1 {_percent(entry['pass@1'])}{_interval(entry['pass@1_interval'])}; "
        cost = (
            f"{entry['jobs']} answers, {entry['outcomes'].get('PASSED', 0)} passed, {entry['output_tokens']:,} tokens"
        )
        lines.append((f"repair {entry['round']}", text + cost))
    return lines


def _audit(score: Mapping[str, object]) -> list[Labelled]:
    """The jobs that were answered again, one by one."""
    audit = cast(Mapping[str, Any] | None, score.get("batch_audit"))
    if audit is None:
        return []
    changed = f"{audit['replies_changed']} replies and {audit['verdicts_changed']} verdicts differ"
    text = f"{audit['jobs']} jobs answered again, one by one: {changed}"
    return [("audit", f"{text}; {counted(audit['tokens_per_s'])} tokens/s")]


def _percent(value: object) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, float) else "undefined"
