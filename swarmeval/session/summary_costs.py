"""Lines of the summary on what a run took: speed, tokens, energy and money."""

from collections.abc import Mapping
from typing import Any, cast

from swarmeval.report.words import number
from swarmeval.scores.reasoning import reasoning_in_words
from swarmeval.scores.sharing import tokens_in_words

Labelled = tuple[str, str]  # label and text of a line


def speed(score: Mapping[str, object], agents: int) -> list[Labelled]:
    """Rates, and the tokens that were delivered and computed."""
    if score["avg_throughput_rps"] is None:
        return []
    text = f"{counted(score['tokens_per_s'])} tokens/s, {counted(score['avg_throughput_rps'])} jobs/s"
    latency_s = score["avg_latency_s"]
    line = ("speed", text if latency_s is None else f"{text}, mean latency {counted(latency_s)} s")
    tokens = tokens_in_words(score, agents)
    return [line, ("tokens", tokens)] if tokens else [line]


def reasoning(score: Mapping[str, object]) -> list[Labelled]:
    """The tokens of thoughts, if any reply has some."""
    facts = cast(Mapping[str, Any] | None, score.get("reasoning"))
    return [] if facts is None else [("thoughts", reasoning_in_words(facts))]


def energy(score: Mapping[str, object]) -> list[Labelled]:
    """The energy of the run, if it could be measured."""
    facts = cast(Mapping[str, Any] | None, score.get("energy"))
    if facts is None:
        return []
    text = f"{facts['joules']:,.0f} J ({facts['source']})"
    if facts["joules_above_idle"] is None:
        return [("energy", f"{text}; idle power was not measured")]
    each = (
        ("output_token", "delivered token"), ("computed_token", "computed token"), ("evaluation", "evaluation"),
        ("solved_task", "solved task"),
    )  # fmt: skip
    shares = [f"{counted(facts[per])} J per {word}" for key, word in each if (per := f"joules_per_{key}") in facts]
    return [("energy", f"{text}, {facts['joules_above_idle']:,.0f} J above idle: {', '.join(shares)}")]


def cost(score: Mapping[str, object]) -> list[Labelled]:
    """The cost of the run at the prices of the settings."""
    facts = cast(Mapping[str, Any] | None, score.get("cost"))
    if facts is None:
        return []
    if facts["total"] is None:
        return [("cost", f"unknown: {facts['undefined']['total']}")]
    text = f"{counted(facts['total'])} {facts['currency']}"
    for key, word in (("per_evaluation", "evaluation"), ("per_solved_task", "solved task")):
        text += f", {counted(facts[key])} per {word}" if facts[key] is not None else ""
    return [("cost", text)]


def counted(value: object) -> str:
    return number(value) if isinstance(value, float | int) else "no"
