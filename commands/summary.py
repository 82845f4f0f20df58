"""What a run prints when it ends."""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger("swarmeval")


def say(text: str) -> None:
    """Print what a command answers. A reader that has gone, or a full disk, costs the text and not the run."""
    try:
        print(text, flush=True)
    except OSError as error:
        log.warning("the summary could not be printed: %s", error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered goes nowhere, in silence


def summary(
    folder: Path, score: Mapping[str, object], reason: str, seconds: float, voluntary: int, involuntary: int
) -> str:
    """A few lines: the score, what came of the jobs, speed, the coordinator's context switches, where files are."""
    lines = [
        f"{_rates(score)}  ({score['passed']} of {score['evaluations']} evaluations passed, {score['total']} tasks)",
        *_certainty(score),
        *_profiles(score),
        f"outcomes  {_pairs(score['outcomes'])}; {score['failures']} failures, {score['unanswered']} unanswered",
        f"speed     {_number(score['avg_throughput_rps'])} jobs/s, {_number(score['tokens_per_s'])} tokens/s, "
        f"latency {_number(score['avg_latency_s'])} s on average",
        f"switches  {voluntary} voluntary, {involuntary} involuntary context switches of the coordinator "
        f"({(voluntary + involuntary) / seconds:.1f}/s)",
        f"results   {folder / 'score.json'}, {folder / 'agent_summary.json'}, {folder / 'agent_*_results.jsonl'}, ...",
    ]
    if reason != "finished":
        lines.append(f"{reason}: the same command resumes this run")
    return "\n".join(lines)


def _rates(score: Mapping[str, object]) -> str:
    found = {key: value for key, value in score.items() if key.startswith("pass@")}
    return "  ".join(f"{key} {_percent(value)}" for key, value in found.items())


def _certainty(score: Mapping[str, object]) -> list[str]:
    """The interval of pass@1, and how far agents lie apart."""
    intervals, agents = score["intervals"], score["agents"]
    assert isinstance(intervals, Mapping)
    if intervals["pass@1"] is None:
        return []
    low, high = intervals["pass@1"]
    line = f"certainty pass@1 {100 * low:.1f} to {100 * high:.1f} % (95 %, over tasks)"
    if isinstance(agents, Mapping):
        line += f"; agents {_percent(agents['min'])} to {_percent(agents['max'])}"
    return [line]


def _profiles(score: Mapping[str, object]) -> list[str]:
    """A line a profile, where there are any, and one of what they find together."""
    profiles, unions = score.get("profiles", {}), score.get("unions", {})
    assert isinstance(profiles, Mapping)
    assert isinstance(unions, Mapping)
    lines = []
    for name, found in profiles.items():
        low, high = found["pass@1_interval"]
        around = f"({100 * low:.1f} to {100 * high:.1f} %)"
        lines.append(f"profile   {name}: pass@1 {_percent(found['pass@1'])} {around}, {found['agents']} agents")
    if unions and (together := list(unions.values())[-1])["pass@1_each"] is not None:
        low, high = together["pass@1_each_interval"]
        around = f"({100 * low:.1f} to {100 * high:.1f} %)"
        lines.append(f"union     an answer of each: at least one passes {_percent(together['pass@1_each'])} {around}")
    return lines


def _percent(value: object) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, float) else "undefined"


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float | int) else "no"


def _pairs(counts: object) -> str:
    assert isinstance(counts, Mapping)
    return ", ".join(f"{key} {count}" for key, count in counts.items()) or "none"
