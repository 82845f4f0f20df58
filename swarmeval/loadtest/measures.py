"""Statistics of a load level or of one package in it: times, throughput, goodput. Undefined values carry a reason."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict
from typing import Any

import numpy as np

from swarmeval.loadtest import fits, relations
from swarmeval.loadtest.facts import Slo
from swarmeval.loadtest.outliers import file_seconds
from swarmeval.loadtest.quantiles import quantiles
from swarmeval.loadtest.request_rows import RequestRow
from swarmeval.scores.intervals import wilson
from swarmeval.scores.latency import histogram

STRETCH = 3.0  # a histogram ends at this multiple of the 90th percentile
MOST_REASONS = 20  # errors listed separately; rarer ones are summed up in one line
OTHERS = "other errors"
TIMES: Mapping[str, Callable[[RequestRow], float | None]] = {
    "latency_s": lambda row: row.request.latency_s,
    "ttft_s": lambda row: row.request.ttft_s,
    "tpot_s": lambda row: row.request.tpot_s,
    "to_file_s": lambda row: row.to_file_s,
}
UNMEASURED = {
    "ttft_s": "time to first token is unknown: answers were not streamed",
    "tpot_s": "no streamed answer had two tokens or more",
    "to_file_s": "no answer was written to a test file",
    "file_s": "no test file was written",
}


class Findings:
    """Named values. An undefined value is None and has its reason in "undefined"."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.undefined: dict[str, str] = {}

    def compute(self, name: str, find: Callable[[], Any]) -> Any:
        try:
            self.values[name] = plain(find())
        except ValueError as reason:
            self.values[name], self.undefined[name] = None, str(reason)
        return self.values[name]

    def as_dict(self) -> dict[str, Any]:
        return {**self.values, "undefined": self.undefined}


def group(counted: Sequence[RequestRow], window_s: float | None, slo: Slo, far: Set[int]) -> dict[str, Any]:
    """All statistics of the counted requests of a level or of one package in it. `far`: numbers of the outliers."""
    findings = Findings()
    answered = [row for row in counted if row.request.error is None]
    findings.values |= {"requests": len(counted), "answered": len(answered), "failed": len(counted) - len(answered)}
    findings.values["output_tokens"] = sum(row.request.output_tokens or 0 for row in answered)
    findings.values |= _computed(answered, window_s)
    for name, time in TIMES.items():
        _times(findings, name, [value for row in answered if (value := time(row)) is not None])
    files = _file_times(counted)
    _times(findings, "file_s", files)
    findings.compute("requests_per_s", lambda: _rate(len(answered), window_s))
    findings.compute("output_tokens_per_s", lambda: _token_rate(answered, window_s))
    findings.compute("goodput", lambda: goodput(counted, window_s, slo))
    latencies = [row.request.latency_s for row in answered]
    findings.compute("histogram", lambda: bars(latencies))
    findings.compute("exponential", lambda: fits.against_exponential(latencies))
    findings.compute("shifted_exponential", lambda: fits.against_shifted(latencies))
    findings.compute("families", lambda: fits.compare_families(latencies))
    findings.compute("file_exponential", lambda: fits.against_exponential(files))
    findings.compute("file_shifted_exponential", lambda: fits.against_shifted(files))
    findings.compute("file_families", lambda: fits.compare_families(files))
    findings.compute("correlations", lambda: correlations(answered, findings.undefined))
    findings.compute("line", lambda: relations.line(points(answered)))
    findings.compute("line_without_outliers", lambda: relations.line(points(without(answered, far))))
    return findings.as_dict()


def bars(latencies: Sequence[float]) -> dict[str, Any]:
    """A histogram up to STRETCH times the 90th percentile, and the number of values beyond.

    Without the limit, a single hung request would squeeze all others into one bin. Raises ValueError if empty.
    """
    if not latencies:
        _refuse("no request was answered")
    limit = STRETCH * float(np.percentile(latencies, 90))
    shown = [value for value in latencies if value <= limit] or latencies
    return {**asdict(histogram(shown)), "beyond": len(latencies) - len(shown)}


def points(answered: Sequence[RequestRow]) -> relations.Points:
    """Output tokens and latencies of the requests that report their tokens."""
    with_tokens = [row.request for row in answered if row.request.output_tokens is not None]
    return [float(one.output_tokens or 0) for one in with_tokens], [one.latency_s for one in with_tokens]


def without(rows: Sequence[RequestRow], far: Set[int]) -> list[RequestRow]:
    """The rows except those with numbers in `far`."""
    return [row for row in rows if row.request.number not in far]


def correlations(answered: Sequence[RequestRow], undefined: dict[str, str]) -> dict[str, relations.Matrix]:
    """Pearson and Spearman matrices; adds constant columns to `undefined`. Raises ValueError for too few requests."""
    with_tokens = [
        row.request
        for row in answered
        if row.request.output_tokens is not None and row.request.input_tokens is not None
    ]
    columns = {
        "latency": [one.latency_s for one in with_tokens],
        "input tokens": [float(one.input_tokens or 0) for one in with_tokens],
        "output tokens": [float(one.output_tokens or 0) for one in with_tokens],
    }
    matrices = relations.matrices(columns)
    for name, row in matrices["pearson"].items():
        if row[name] is None:
            undefined[f"correlations.{name}"] = "all values are equal: the correlation with a constant is undefined"
    return matrices


def window_s(counted: Sequence[RequestRow]) -> float | None:
    """Time from the intended start of the first counted request to the end of the last; None if that is 0."""
    if not counted:
        return None
    spent = max(row.request.last_s for row in counted) - min(row.request.intended_s for row in counted)
    return spent if spent > 0 else None


def goodput(counted: Sequence[RequestRow], window_s: float | None, slo: Slo) -> dict[str, Any]:
    """Answers per second that meet all limits (Zhong et al. 2024, DistServe, arXiv 2401.09670), and their share.

    The share is of all counted requests, including failed ones, with a Wilson interval. An answer of one token has no
    TPOT and always meets its limit. Raises ValueError if no limit is set or none can be checked.
    """
    if not slo:
        _refuse("no limit was set: goodput needs one for TTFT, TPOT or both")
    if not counted:
        _refuse("no request ended after the warm-up")
    answered = [row for row in counted if row.request.error is None]
    if answered and all(row.request.first_s is None for row in answered):
        _refuse(UNMEASURED["ttft_s"])
    within_limits = sum(_keeps(row, slo) for row in answered)
    return {
        "requests_per_s": _rate(within_limits, window_s),
        "share": within_limits / len(counted),
        "interval": wilson(within_limits, len(counted)),
    }


def errors(rows: Sequence[RequestRow]) -> list[dict[str, Any]]:
    """Failed requests per reason, most frequent first, including the warm-up."""
    counts = Counter(row.request.error for row in rows if row.request.error is not None)
    common = counts.most_common(MOST_REASONS)
    rest = counts.total() - sum(count for _, count in common)
    return [{"reason": reason, "count": count} for reason, count in [*common, *([(OTHERS, rest)] if rest else [])]]


def plain(value: Any) -> Any:
    """The value for JSON: NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _times(findings: Findings, name: str, values: Sequence[float]) -> None:
    """{"count", "mean", "least", "most", p50 ... p99.9 with bounds}."""
    if not values:
        findings.values[name], findings.undefined[name] = None, UNMEASURED.get(name, "no request was answered")
        return
    percentiles, reasons = quantiles(values)
    findings.values[name] = {
        "count": len(values), "mean": statistics.fmean(values), "least": min(values), "most": max(values),
        **percentiles,
    }  # fmt: skip
    findings.undefined |= {f"{name}.{key}": reason for key, reason in reasons.items()}


def _file_times(counted: Sequence[RequestRow]) -> list[float]:
    modules: dict[tuple[str, str], list[RequestRow]] = defaultdict(list)
    for row in counted:
        if row.written_s is not None:
            modules[row.package, row.module].append(row)
    return [file_seconds(rows) for rows in modules.values()]


def _keeps(row: RequestRow, slo: Slo) -> bool:
    first, token = row.request.ttft_s, row.request.tpot_s
    in_time = slo.ttft_s is None or (first is not None and first <= slo.ttft_s)
    return in_time and (slo.tpot_s is None or token is None or token <= slo.tpot_s)


def _rate(amount: float, seconds: float | None) -> float:
    return amount / seconds if seconds else _refuse("no time was measured")


def _token_rate(answered: Sequence[RequestRow], seconds: float | None) -> float:
    if answered and all(row.request.output_tokens is None for row in answered):
        _refuse("no answer reported its tokens")
    return _rate(sum(row.request.output_tokens or 0 for row in answered), seconds)


def _computed(answered: Sequence[RequestRow], seconds: float | None) -> dict[str, Any]:
    """Tokens that went through the model, and their rate; empty if an answer does not state them."""
    tokens = [row.request.computed_tokens for row in answered]
    if not tokens or not seconds or None in tokens:
        return {}
    computed = sum(one or 0 for one in tokens)
    return {"computed_tokens": computed, "computed_tokens_per_s": computed / seconds}


def _refuse(reason: str) -> Any:
    raise ValueError(reason)
