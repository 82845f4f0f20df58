"""Sentences and summary tables of a load run's report. Takes load.json as a dict and computes no statistics."""

from collections.abc import Mapping
from typing import Any

from swarmeval.loadtest.ideal_runtime import FEWEST as FEWEST_ALONE
from swarmeval.loadtest.outliers import FEWEST
from swarmeval.loadtest.report_tables import (
    PERCENTILES,
    UNDEFINED,
    LevelData,
    Table,
    number_or_undefined,
    span,
    value_with_bounds,
)
from swarmeval.report.words import between, number, percent

MOST_LINES = 20  # lines of code in the memory table
MIB = 1 << 20


def headline(law: Mapping[str, Any]) -> Table:
    """The headline number of the page and the sentences next to it."""
    levels = law["levels"]
    first = levels[0] if levels else None
    latency = first and _all(first)["latency_s"]
    middle = latency and latency["p50"]
    texts = ["No request was answered."]
    if first is not None and latency:
        who = f"{first['name']}, {first['answered']:,} answers"
        texts = [f"Median latency {value_with_bounds(middle)} at {who}, counted from the intended start of a request."]
        texts += [f"{name}: {value_with_bounds(latency[name])}." for name in ("p99",) if latency[name]]
    fastest = max(levels, key=lambda level: _all(level)["requests_per_s"] or 0.0, default=None)
    if fastest is not None and len(levels) > 1:
        rates = _all(fastest)
        texts.append(
            f"Peak throughput: {number(rates['requests_per_s'], 'requests/s')}, "
            f"{number(rates['output_tokens_per_s'], 'output tokens/s')}, at {fastest['name']}."
        )
    status, sentence = completeness(law)
    return {
        "big": span(middle["value"]) if middle else UNDEFINED,
        "texts": texts,
        "status": status,
        "sentence": sentence,
    }


def completeness(law: Mapping[str, Any]) -> tuple[str, str]:
    """The status badge and a sentence that explains it."""
    if not law["finished"]:
        return "partial", f"The run is not finished: {law['requests']:,} requests so far."
    if law["failed"]:
        return "partial", f"{law['failed']:,} of {law['requests']:,} requests failed. Latencies exclude them."
    return "complete", f"All {law['requests']:,} requests were answered."


def what_ran(law: Mapping[str, Any]) -> str:
    packages = sorted({name for level in law["levels"] for name in list(level["groups"])[1:]})
    levels = len(law["levels"])
    return (
        f"{law['requests']:,} request{'s' * (law['requests'] != 1)} for {', '.join(packages) or 'no package'}, "
        f"{levels} load level{'s' * (levels != 1)}"
    )


def limits(law: Mapping[str, Any]) -> str:
    """A sentence that states the latency limits."""
    bounds = [f"{name} {span(value)}" for name, value in
             (("TTFT", law["slo"]["ttft_s"]), ("TPOT", law["slo"]["tpot_s"])) if value is not None]  # fmt: skip
    if not bounds:
        return "Goodput is undefined: no latency limits were set."
    return f"Goodput: answers per second with {' and '.join(bounds)} or less. Share: of all counted requests."


def curve(law: Mapping[str, Any]) -> list[Table]:
    """One row per level: load, throughput, latency, goodput."""
    rows = []
    for level in law["levels"]:
        group, good = _all(level), _all(level)["goodput"]
        rows.append({
            "name": level["name"], "counted": level["counted"], "failed": level["failed"], "warmup": level["warmup"],
            "in_air": number_or_undefined(level["in_the_air_mean"]),
            "rate": number_or_undefined(group["requests_per_s"]),
            "tokens": number_or_undefined(group["output_tokens_per_s"]),
            "computed": number(computed) if (computed := group.get("computed_tokens_per_s")) is not None else "",
            "joules": _joules(level["joules_per_request"]),
            "latency": [_value(group["latency_s"], name) for name in PERCENTILES],
            "good": number_or_undefined(good and good["requests_per_s"]),
            "share": percent(good["share"]) if good else UNDEFINED,
            "bounds": between(good["interval"]) if good else "",
        })  # fmt: skip
    return rows


def costs(law: Mapping[str, Any]) -> str:
    """The fitted costs of an undisturbed request, in sentences."""
    fitted = law["costs"]
    if fitted is None:
        return f"The idealized runtime is undefined: {law['undefined']['costs']}."
    prompt = fitted["per_input_token_s"]
    words = f"An undisturbed request: {span(fitted['fixed_s'])}"
    words += (
        f" + {1000 * prompt:.3g} ms per input token"
        if prompt is not None
        else " for any prompt (all have the same length)"
    )
    words += f" + {1000 * fitted['per_output_token_s']:.3g} ms per output token after the first"
    words += f"; fitted to {fitted['requests']:,} requests with {fitted['others']:.2g} concurrent others on average"
    if fitted["r_squared"] is not None:
        words += f" (R² {fitted['r_squared']:.3f})"
    if fitted["fault"]:
        return f"{words}. The idealized runtime and the contention factor are undefined: {fitted['fault']}."
    if not fitted["contention_removed"]:
        who = f"Only {fitted['alone']} of these" if fitted["alone"] else "None of these"
        words += (
            f". {who} ran alone, so these costs include contention and the true factor is larger. "
            f"To avoid this, add a level with concurrency 1 and at least {FEWEST_ALONE} counted requests"
        )
    return f"{words}."


def no_outliers(law: Mapping[str, Any]) -> str:
    """A sentence that explains an empty list of outliers."""
    groups = [group for level in law["levels"] for group in list(level["groups"].values())[1:]]
    compared = sum(group["answered"] >= FEWEST for group in groups)
    if not compared:
        return f"Not determined: this needs at least {FEWEST} answers per package and level."
    none = "None: no request took far longer than the others of its package and level."
    left = len(groups) - compared
    return none if not left else f"{none} {left} of {len(groups)} groups were skipped: fewer than {FEWEST} answers."


def outliers(law: Mapping[str, Any]) -> list[Table]:
    return [
        {"request": f"{one['package']} {one['module']} {one['function']}".strip(), "level": one["level"],
         "number": one["number"], "latency": span(one["latency_s"]), "how": one["how"],
         "tokens": f"{_count(one['input_tokens'])} / {_count(one['output_tokens'])}",
         "reasons": "; ".join(one["reasons"])}
        for one in law["outliers"]
    ]  # fmt: skip


def file_outliers(law: Mapping[str, Any]) -> list[Table]:
    return [
        {"file": f"{one['package']} {one['module']}", "level": one["level"], "requests": one["requests"],
         "seconds": span(one["seconds"]), "reasons": "; ".join(one["reasons"])}
        for one in law["file_outliers"]
    ]  # fmt: skip


def worth(law: Mapping[str, Any]) -> Table | None:
    """Quality measures of the written tests: one row per package, one column per measure. Floats are shares."""
    packages: Mapping[str, Mapping[str, Any]] = law["worth"] or {}
    if not packages:
        return None
    columns = list(dict.fromkeys(key for row in packages.values() for key in row))
    rows = [(name, [_cell(row.get(key)) for key in columns]) for name, row in packages.items()]
    return {"columns": [key.replace("_", " ") for key in columns], "rows": rows}


def memory(law: Mapping[str, Any]) -> Table | None:
    """The lines and functions that allocated most memory."""
    recorded = law["memory"]
    if not recorded or not recorded["lines"]:
        return None
    total = sum(size for _, _, size in recorded["lines"])
    by_line = sorted(recorded["lines"], key=lambda line: -line[2])
    return {
        "source": recorded["source"], "total": _mib(total), "in_all": len(by_line),
        "lines": [(f"{file}:{line}", _mib(size), percent(size / total if total else None))
                  for file, line, size in by_line[:MOST_LINES]],
        "functions": [(name, _mib(size)) for name, size in
                      sorted(recorded["functions"], key=lambda one: -one[1])[:MOST_LINES]],
    }  # fmt: skip


def settings(law: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, "none" if value is None else str(value)) for key, value in law["settings"].items()]


def _all(level: LevelData) -> Mapping[str, Any]:
    whole: Mapping[str, Any] = next(iter(level["groups"].values()))
    return whole


def _value(percentiles: Mapping[str, Any] | None, name: str) -> str:
    return span(percentiles[name]["value"]) if percentiles and percentiles[name] else UNDEFINED


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _joules(value: float | None) -> str:
    return UNDEFINED if value is None else number(value, "J")


def _cell(value: object) -> str:
    if value is None:
        return UNDEFINED
    if isinstance(value, float):
        return percent(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _mib(size: int) -> str:
    return f"{size / MIB:,.2f} MiB"
