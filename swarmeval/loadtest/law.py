"""load.json: the statistics of a load run, computed from its rows per level and per package.

Loads scipy and statsmodels, so only reporting code imports it, never a running load test.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict
from typing import Any

from swarmeval.loadtest import ideal_runtime, outliers, relations
from swarmeval.loadtest.arrivals import PER_SECOND
from swarmeval.loadtest.facts import LevelFacts, LoadFacts
from swarmeval.loadtest.measures import Findings, errors, group, plain, points, window_s, without
from swarmeval.loadtest.request_rows import RequestRow
from swarmeval.version import VERSION

NAME = "load.json"
ALL = "all packages"
MOST_OUTLIERS = 200


def law(rows: Sequence[RequestRow], facts: LoadFacts) -> dict[str, Any]:
    """The contents of load.json. Latencies exclude failed requests and the warm-up."""
    levels = {level.name: [row for row in rows if row.level == level.name] for level in levels_of(rows, facts)}
    findings, far = Findings(), outliers.requests(rows)
    findings.values |= {
        "version": VERSION, "title": facts.title, "run_id": facts.run_id, "finished": facts.finished,
        "requests": len(rows), "counted": sum(row.request.counts for row in rows),
        "failed": sum(row.request.error is not None for row in rows),
        "energy_source": facts.energy_source, "slo": asdict(facts.slo), "settings": dict(facts.settings),
    }  # fmt: skip
    costs: ideal_runtime.Costs | None = None
    try:
        costs = ideal_runtime.costs(list(levels.values()))
        removed = costs.alone == costs.requests
        findings.values["costs"] = plain(
            {**asdict(costs), "contention_removed": removed, "fault": costs.fault() or None}
        )
        if costs.per_input_token_s is None:
            findings.undefined["costs.per_input_token_s"] = "all prompts have the same length; fixed_s includes it"
    except ValueError as reason:
        findings.values["costs"], findings.undefined["costs"] = None, str(reason)
    findings.values["levels"] = [
        _level(level, levels[level.name], facts, costs, {one["number"] for one in far if one["level"] == level.name})
        for level in levels_of(rows, facts)
        if levels[level.name]
    ]
    for name, entries in (("outliers", far), ("file_outliers", outliers.files(rows))):
        findings.values[name] = plain(entries[:MOST_OUTLIERS])
        findings.values[f"{name}_in_all"] = len(entries)
    findings.values["errors"] = errors(rows)
    findings.values |= {"memory": facts.memory and asdict(facts.memory), "worth": facts.worth}
    return findings.as_dict()


def levels_of(rows: Sequence[RequestRow], facts: LoadFacts) -> list[LevelFacts]:
    """The levels listed in the facts, in their order, followed by any that occur only in the rows."""
    known = {level.name: level for level in facts.levels}
    return list((known | {row.level: LevelFacts(row.level) for row in rows if row.level not in known}).values())


def _level(
    level: LevelFacts, rows: Sequence[RequestRow], facts: LoadFacts, costs: ideal_runtime.Costs | None, far: Set[int]
) -> dict[str, Any]:
    counted = [row for row in rows if row.request.counts]
    answered = [row for row in counted if row.request.error is None]
    packages = {name: [row for row in counted if row.package == name] for name in sorted({r.package for r in counted})}
    window, findings = window_s(counted), Findings()
    findings.values |= {
        "name": level.name, "is_open": level.name.endswith(PER_SECOND),
        "requests": len(rows), "counted": len(counted), "answered": len(answered),
        "failed": len(counted) - len(answered), "warmup": len(rows) - len(counted), "warmup_s": level.warmup_s,
        "window_s": window, "errors": errors(rows),
    }  # fmt: skip
    findings.compute("in_the_air_mean", lambda: _in_the_air(counted, window))
    findings.compute("joules_per_request", lambda: _joules(level, rows, facts))
    findings.compute("lines_differ", lambda: _differ(packages, set()))
    findings.compute("lines_differ_without_outliers", lambda: _differ(packages, far))
    findings.values["groups"] = {}
    for name, members in {ALL: counted, **packages}.items():
        entry = group(members, window, facts.slo, far)
        entry |= _idealized([row for row in members if row.request.error is None], costs, entry["undefined"])
        findings.values["groups"][name] = entry
    return findings.as_dict()


def _differ(packages: Mapping[str, Sequence[RequestRow]], far: Set[int]) -> dict[str, Any]:
    return relations.differ({
        name: points(without([row for row in rows if row.request.error is None], far))
        for name, rows in packages.items()
    })  # fmt: skip


def _idealized(
    answered: Sequence[RequestRow], costs: ideal_runtime.Costs | None, undefined: dict[str, str]
) -> dict[str, Any]:
    try:
        if costs is None:
            raise ValueError("the costs are undefined")
        return {"idealized": plain(ideal_runtime.idealized(answered, costs))}
    except ValueError as reason:
        undefined["idealized"] = str(reason)
        return {"idealized": None}


def _in_the_air(counted: Sequence[RequestRow], window: float | None) -> float:
    """Average number of requests in flight over the window (Little 1961)."""
    if window is None:
        raise ValueError("no time was measured")
    return sum(row.request.last_s - row.request.sent_s for row in counted) / window


def _joules(level: LevelFacts, rows: Sequence[RequestRow], facts: LoadFacts) -> float:
    """Energy of the level per answered request, warm-up included in both."""
    answered = sum(row.request.error is None for row in rows)
    if level.joules is None or facts.energy_source is None:
        raise ValueError("energy cannot be measured on this machine")
    if not answered:
        raise ValueError("no request was answered")
    return level.joules / answered
