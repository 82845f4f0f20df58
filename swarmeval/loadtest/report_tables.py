"""Tables of one load level in the report. Takes a level of load.json as a dict."""

from collections.abc import Mapping
from typing import Any

from swarmeval.report.words import duration, number

PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9")
FITS = ("exponential", "shifted_exponential", "families")
FAMILIES = ("exponential", "gamma", "lognormal")
TIMES = {
    "latency_s": "latency",
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "to_file_s": "until its test file",
    "file_s": "whole test file",
}
UNDEFINED = "undefined"
LITTLE_AIC = 2.0  # difference between families that have similar support (Burnham & Anderson 2002, section 2.6)
LITTLE = 0.05  # significance level

LevelData = Mapping[str, Any]
Table = dict[str, Any]
Fit = Mapping[str, Any] | None


def times(level: LevelData) -> list[Table]:
    """One row per package and timing, with percentiles and their intervals; unmeasured timings are left out."""
    return [
        {"package": name, "what": words, "count": group[key]["count"], "mean": span(group[key]["mean"]),
         "cells": [_cells(group[key][q]) for q in PERCENTILES]}
        for name, group in groups(level).items()
        for key, words in TIMES.items()
        if group[key] is not None
    ]  # fmt: skip


def laws(level: LevelData) -> list[Table]:
    """One row per package and timing: the exponential fit with its p value, and the AIC difference of each family."""
    return [
        {"package": name, "what": TIMES[key], **_law(*(group[f"{prefix}{fit}"] for fit in FITS))}
        for name, group in groups(level).items()
        for key, prefix in (("latency_s", ""), ("file_s", "file_"))
        if group[key] is not None
    ]  # fmt: skip


def _law(test: Fit, shifted: Fit, families: Fit) -> Table:
    above = families["families"] if families else {}
    return {
        "mean": span(test["mean_s"]) if test else UNDEFINED,
        "distance": f"{test['distance']:.3f}" if test else "", "p": _p(test["p"] if test else None),
        "shift": span(shifted["shift_s"]) if shifted else UNDEFINED, "shifted_p": _p(shifted["p"] if shifted else None),
        "best": _best(above) if above else UNDEFINED,
        "above": [f"+{above[family]['above_best']:.1f}" if family in above else "" for family in FAMILIES],
    }  # fmt: skip


def _best(families: Mapping[str, Mapping[str, float]]) -> str:
    """The best family, and any others within LITTLE_AIC of it, which fit about as well."""
    near = [name for name, one in families.items() if one["above_best"] < LITTLE_AIC]
    return " or ".join(sorted(near, key=lambda name: families[name]["above_best"]))


def lines(level: LevelData) -> list[Table]:
    """One row per package: regression line with and without outliers, raw and idealized runtime."""
    rows = []
    for name, group in groups(level).items():
        line, ideal = group["line"], group["idealized"]
        rows.append({
            "package": name, "intercept": span(line["intercept_s"]) if line else UNDEFINED,
            "slope": _slope(line), "inner": _slope(group["line_without_outliers"]),
            "r_squared": f"{line['r_squared']:.3f}" if line and line["r_squared"] is not None else "",
            "raw": span(ideal["raw_mean_s"]) if ideal else UNDEFINED,
            "ideal": span(ideal["idealized_mean_s"]) if ideal else UNDEFINED,
            "factor": number_or_undefined(ideal and ideal["contention_factor"]),
        })  # fmt: skip
    return rows


def _slope(line: Mapping[str, Any] | None) -> tuple[str, str]:
    if line is None:
        return UNDEFINED, ""
    value, low, high = (f"{1000 * line[key]:.3g}" for key in ("s_per_token", "low", "high"))
    return f"{value} ms", f"{low} to {high} ms"


def differ(level: LevelData) -> list[str]:
    """Say whether the packages' lines differ: one sentence for all answers, one without outliers."""
    return [
        f"{label}: {_test(level, key)}"
        for label, key in (("All answers", "lines_differ"), ("Without outliers", "lines_differ_without_outliers"))
    ]


def _test(level: LevelData, key: str) -> str:
    comparison = level[key]
    if comparison is None:
        return f"the lines cannot be compared: {level['undefined'][key]}."
    whole, slopes = comparison["lines"], comparison["slopes"]
    known = whole["p"] is not None and whole["p"] < LITTLE
    verdict = "the packages' lines differ" if known else "no significant difference between the packages' lines"
    return f"{verdict}, {_f(whole)}; slopes alone: {_f(slopes)}."


def _f(test: Mapping[str, Any]) -> str:
    above, below = test["df"]
    return (
        f"F({above}, {below:,}) = {number_or_undefined(test['f'])}, p {_p(test['p'])} (robust {_p(test['p_robust'])})"
    )


def undefined(level: LevelData) -> list[tuple[str, str]]:
    """(reason, the values that it makes undefined), one entry per reason."""
    reasons: dict[str, list[str]] = {}
    for where, why in (
        (None, level["undefined"]),
        *((name, group["undefined"]) for name, group in groups(level).items()),
    ):
        for key, reason in why.items():
            reasons.setdefault(reason, []).append(f"{where}: {key}" if where else key)
    return [(reason, ", ".join(names)) for reason, names in reasons.items()]


def groups(level: LevelData) -> dict[str, Mapping[str, Any]]:
    """The packages of a level, preceded by "all packages" if there are several."""
    by_package = dict(level["groups"])
    return by_package if len(by_package) != 2 else dict(list(by_package.items())[1:])


def span(seconds: float) -> str:
    """Format a time; milliseconds below 0.1 s."""
    return f"{1000 * seconds:.3g} ms" if abs(seconds) < 0.1 else duration(seconds)


def _cells(one: Mapping[str, Any] | None) -> tuple[str, str]:
    """A percentile and its bounds, formatted."""
    if one is None:
        return UNDEFINED, ""
    if one["low"] is None and one["high"] is None:
        return span(one["value"]), ""
    low, high = ("?" if bound is None else span(bound) for bound in (one["low"], one["high"]))
    amount, _, unit = low.partition(" ")
    return span(one["value"]), f"{amount if high.endswith(f' {unit}') else low} to {high}"


def value_with_bounds(one: Mapping[str, Any] | None) -> str:
    value, bounds = _cells(one)
    return f"{value} ({bounds})" if bounds else value


def number_or_undefined(value: float | None) -> str:
    return UNDEFINED if value is None else number(value)


def _p(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
