"""Data of the charts in a load run's report, as plain JSON values."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from swarmeval.loadtest.measures import STRETCH
from swarmeval.loadtest.report_tables import groups
from swarmeval.loadtest.request_rows import RequestRow
from swarmeval.report.chart_data import FEWEST, LEAST_R_SQUARED

DOTS = 1500  # at most, in a level's scatter plot
MOST_FILES = 6  # files in the memory charts
MOST_LINES = 400  # lines per file
LEAST_P = 0.01  # smallest p value at which the exponential distribution is drawn
MARKS = ("p50", "p90", "p99")
LATENCIES = ("p50", "p90", "p99")


def chart_data(law: Mapping[str, Any], rows: Sequence[RequestRow]) -> dict[str, Any]:
    """Collect all data that the page's scripts read."""
    with_tokens: dict[str, list[RequestRow]] = defaultdict(list)
    for row in rows:
        if row.request.counts and row.request.error is None and row.request.output_tokens is not None:
            with_tokens[row.level].append(row)
    return {
        "levels": [_level(level, with_tokens[level["name"]]) for level in law["levels"]],
        "curve": _curve(law["levels"]),
        "memory": _memory(law["memory"]),
    }


def _level(level: Mapping[str, Any], with_tokens: Sequence[RequestRow]) -> dict[str, Any]:
    step = max(1, -(-len(with_tokens) // DOTS))
    dots: dict[str, list[list[float]]] = defaultdict(list)
    for row in with_tokens[::step]:
        dots[row.package].append([row.request.output_tokens or 0, _short(row.request.latency_s)])
    packages = dict(list(level["groups"].items())[1:])
    return {
        "name": level["name"],
        "shown": [len(with_tokens[::step]), len(with_tokens)],
        "groups": [_group(name, group) for name, group in groups(level).items()],
        "top": _top([row.request.latency_s for row in with_tokens]),
        "joint": [{"name": name, "dots": dots[name], "line": _line(group)}
                  for name, group in packages.items() if dots[name]],
    }  # fmt: skip


def _group(name: str, group: Mapping[str, Any]) -> dict[str, Any]:
    bars, latency, test = group["histogram"], group["latency_s"], group["exponential"]
    return {
        "name": name,
        "histogram": bars and {
            **bars, "mean": test["mean_s"] if test and test["p"] >= LEAST_P else None,
            "percentiles": {q: latency[q]["value"] for q in MARKS if latency and latency[q]},
        },
        "correlations": group["correlations"],
    }  # fmt: skip


def _top(latencies: Sequence[float]) -> float:
    """Upper limit of the scatter plot's latency axis; dots far beyond the 90th percentile are drawn on that edge."""
    return min(max(latencies), STRETCH * (float(np.percentile(latencies, 90)) or 1.0)) if latencies else 1.0


def _line(group: Mapping[str, Any]) -> list[float] | None:
    """The regression line, if it is based on enough requests and explains enough of the variance."""
    line = group["line_without_outliers"]
    if not line or line["count"] < FEWEST or (line["r_squared"] or 0.0) < LEAST_R_SQUARED:
        return None
    return [line["s_per_token"], line["intercept_s"]]


def _curve(levels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One point per level: throughput, load, latency and goodput."""
    points = []
    for level in levels:
        whole = next(iter(level["groups"].values()))
        latency = whole["latency_s"] or {}
        points.append({
            "name": level["name"], "is_open": level["is_open"],
            "rate": whole["requests_per_s"], "in_air": level["in_the_air_mean"],
            "good": whole["goodput"] and whole["goodput"]["requests_per_s"],
            "latency": {q: latency[q]["value"] for q in LATENCIES if latency.get(q)},
        })  # fmt: skip
    return points


def _memory(memory: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Memory per file, largest first: (line, MiB), ordered by line."""
    files: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for file, line, size in memory["lines"] if memory else ():
        files[file].append((line, size))
    largest = sorted(files, key=lambda file: -sum(size for _, size in files[file]))[:MOST_FILES]
    return [
        {"file": file, "lines": [[line, _short(size / (1 << 20))] for line, size in
                                 sorted(sorted(files[file], key=lambda one: -one[1])[:MOST_LINES])]}
        for file in largest
    ]  # fmt: skip


def _short(value: float) -> float:
    return float(f"{value:.5g}")
