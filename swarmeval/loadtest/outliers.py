"""Outliers: requests and test files far slower than their peers or far off the regression line, with likely reasons.

Reasons are derived from the row alone, or given as unknown. Does not remove outliers from any statistic.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarmeval.loadtest.request_rows import CONSTANTS, RequestRow
from swarmeval.scores.latency import line

FEWEST = 12  # peers needed for a comparison
FAR = 3.0  # interquartile ranges beyond the quartile: Tukey's "far out" (1977, Exploratory Data Analysis, 2D)
MANY_FUNCTIONS = 10
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Fence:
    """Bounds beyond which a value is an outlier."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float], far: float = FAR) -> "Fence":
        low, high = map(float, np.percentile(values, (25, 75)))
        return cls(low - far * (high - low), high + far * (high - low))


@dataclass(frozen=True, slots=True)
class PeerGroup:
    """Reference values for the requests of one level and package."""

    latency: Fence
    off_line: Fence | None  # distance from the regression line, in seconds; None without a line
    intercept_s: float
    s_per_token: float
    input_tokens: float  # a longer prompt counts as very long
    output_tokens: float  # a longer answer counts as long
    tokens_a_function: float  # median of input tokens per function

    def off(self, row: RequestRow) -> float | None:
        """Seconds above the regression line; None if unknown."""
        if self.off_line is None or row.request.output_tokens is None:
            return None
        return row.request.latency_s - self.intercept_s - self.s_per_token * row.request.output_tokens

    def scatter(self) -> float:
        """Distance between the fences in seconds: the scale for comparing outliers of different packages."""
        return max(self.latency.high - self.latency.low, 1e-12)


def requests(rows: Iterable[RequestRow]) -> list[dict[str, Any]]:
    """The outliers among all rows, most extreme first. A failed request is an outlier only by its latency."""
    groups: dict[tuple[str, str], list[RequestRow]] = defaultdict(list)
    for row in rows:
        groups[row.level, row.package].append(row)
    outliers = []
    for members in groups.values():
        counted = [row for row in members if row.request.counts and row.request.error is None]
        if len(counted) >= FEWEST:
            peers = _peer_group(counted)
            outliers += [
                (far, entry) for row in members if (outlier := _as_outlier(row, peers)) for far, entry in (outlier,)
            ]
    return [entry for _, entry in sorted(outliers, key=lambda pair: -pair[0])]


def files(rows: Iterable[RequestRow]) -> list[dict[str, Any]]:
    """Test files that took far longer than the others of their level and package, most extreme first.

    A file's time runs from the intended start of its first request until the file was written.
    """
    groups: dict[tuple[str, str], dict[str, list[RequestRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.request.counts and row.written_s is not None:
            groups[row.level, row.package][row.module].append(row)
    outliers = []
    for (level, package), modules in groups.items():
        if len(modules) < FEWEST:
            continue
        seconds = {module: file_seconds(members) for module, members in modules.items()}
        fence, numbers = Fence.around(list(seconds.values())), [len(members) for members in modules.values()]
        answers = [float(row.request.output_tokens or 0) for members in modules.values() for row in members]
        long_answer = Fence.around(answers, 1.5).high
        for module, members in modules.items():
            if seconds[module] > fence.high:
                reasons = _file_reasons(members, statistics.median(numbers), long_answer)
                outliers.append({
                    "level": level, "package": package, "module": module, "seconds": seconds[module],
                    "requests": len(members), "beyond_s": fence.high, "reasons": reasons or [UNKNOWN],
                })  # fmt: skip
    return sorted(outliers, key=lambda entry: entry["beyond_s"] - entry["seconds"])


def file_seconds(rows: Sequence[RequestRow]) -> float:
    """Time from the intended start of a file's first request until the file was written."""
    return max(row.written_s or row.request.last_s for row in rows) - min(row.request.intended_s for row in rows)


def _peer_group(counted: Sequence[RequestRow]) -> PeerGroup:
    with_tokens = [
        (row.request.output_tokens, row.request.latency_s) for row in counted if row.request.output_tokens is not None
    ]
    straight = (
        line([float(tokens) for tokens, _ in with_tokens], [s for _, s in with_tokens])
        if len(with_tokens) >= FEWEST
        else None
    )
    slope, intercept = (straight.slope, straight.intercept) if straight else (0.0, 0.0)
    off = [seconds - intercept - slope * tokens for tokens, seconds in with_tokens] if straight else []
    inputs = [float(row.request.input_tokens) for row in counted if row.request.input_tokens is not None]
    outputs = [float(tokens) for tokens, _ in with_tokens]
    shares = [row.request.input_tokens / row.functions for row in counted if row.request.input_tokens and row.functions]
    return PeerGroup(
        Fence.around([row.request.latency_s for row in counted]), Fence.around(off) if off else None, intercept, slope,
        Fence.around(inputs).high if inputs else 0.0, Fence.around(outputs, 1.5).high if outputs else 0.0,
        statistics.median(shares) if shares else 0.0,
    )  # fmt: skip


def _as_outlier(row: RequestRow, peers: PeerGroup) -> tuple[float, dict[str, Any]] | None:
    """The distance beyond the fence in units of scatter, and the report entry; None if the row is not an outlier."""
    request, off = row.request, peers.off(row)
    far, how = request.latency_s - peers.latency.high, "latency"
    if far <= 0 and off is not None and peers.off_line is not None and request.error is None:
        far, how = max((off - peers.off_line.high, "above its line"), (peers.off_line.low - off, "below its line"))
    if far <= 0:
        return None
    reasons = [words for rule in REASONS if (words := rule(row, peers))]
    return far / peers.scatter(), {
        "level": row.level, "number": request.number, "package": row.package, "module": row.module,
        "function": row.function, "latency_s": request.latency_s, "ttft_s": request.ttft_s,
        "input_tokens": request.input_tokens, "output_tokens": request.output_tokens, "how": how,
        "off_line_s": off, "reasons": reasons or [UNKNOWN],
    }  # fmt: skip


def _failed(row: RequestRow, _: PeerGroup) -> str:
    return f"failed: {row.request.error}" if row.request.error is not None else ""


def _retried(row: RequestRow, _: PeerGroup) -> str:
    return f"sent {row.attempts} times" if row.attempts > 1 else ""


def _warm_up(row: RequestRow, _: PeerGroup) -> str:
    return "" if row.request.counts else "in the warm-up"


def _constants(row: RequestRow, _: PeerGroup) -> str:
    return "constants only" if row.kind == CONSTANTS or row.functions == 0 else ""


def _small_functions(row: RequestRow, peers: PeerGroup) -> str:
    many, tokens = row.functions or 0, row.request.input_tokens or 0
    return (
        f"many small functions ({many})" if many >= MANY_FUNCTIONS and tokens / many < peers.tokens_a_function else ""
    )


def _long_input(row: RequestRow, peers: PeerGroup) -> str:
    tokens = row.request.input_tokens
    return f"very long input ({tokens:,} tokens)" if tokens is not None and tokens > peers.input_tokens else ""


def _long_answer(row: RequestRow, peers: PeerGroup) -> str:
    tokens = row.request.output_tokens
    return f"long answer ({tokens:,} tokens)" if tokens is not None and tokens > peers.output_tokens else ""


def _unsent(row: RequestRow, _: PeerGroup) -> str:
    waited = row.request.sent_s - row.request.intended_s
    return f"sent {waited:.3g} s late" if waited > row.request.latency_s / 3 else ""


def _late_first_token(row: RequestRow, _: PeerGroup) -> str:
    if row.request.first_s is None:
        return ""
    waited = row.request.first_s - row.request.sent_s
    return f"waited {waited:.3g} s for its first token" if waited > row.request.latency_s / 2 else ""


REASONS: tuple[Callable[[RequestRow, PeerGroup], str], ...] = (
    _failed, _retried, _warm_up, _constants, _small_functions, _long_input, _long_answer, _unsent, _late_first_token,
)  # fmt: skip


def _file_reasons(rows: Sequence[RequestRow], usual: float, long_answer: float) -> list[str]:
    """Likely reasons why one test file took long.

    `usual` is the median number of requests per file; answers of more than `long_answer` tokens count as long.
    """
    failed, retried = sum(row.request.error is not None for row in rows), sum(row.attempts > 1 for row in rows)
    reasons = [f"{failed} of its requests failed"] if failed else []
    reasons += [f"{retried} of its requests sent again"] if retried else []
    if all(row.kind == CONSTANTS or row.functions == 0 for row in rows):
        reasons.append("constants only")
    tokens = [row.request.output_tokens for row in rows if row.request.output_tokens is not None]
    if len(rows) >= max(2 * usual, MANY_FUNCTIONS):
        middle = f", median {statistics.median(tokens):.0f} output tokens" if tokens else ""
        reasons.append(f"many small functions ({sum(row.functions or 0 for row in rows)}{middle})")
    elif tokens and max(tokens) > long_answer:
        reasons.append(f"a long answer ({max(tokens):,} tokens)")
    spent, waited = file_seconds(rows), _idle_seconds(rows)
    if waited > spent / 2:
        reasons.append(f"waited {waited:.3g} s between its requests")
    return reasons


def _idle_seconds(rows: Sequence[RequestRow]) -> float:
    """Seconds, from the first intended start to the last answer, during which the file had no request in flight."""
    free, until = 0.0, min(row.request.intended_s for row in rows)
    for request in sorted((row.request for row in rows), key=lambda request: request.intended_s):
        free += max(0.0, request.intended_s - until)
        until = max(until, request.last_s)
    return free
