"""Requests and test files that took far longer than their like, or far from their line, and what may be the reason.

A reason is read off the row; where none is found there, that is said. Nothing is left out of the numbers for it.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarmeval.loadtest.request_rows import CONSTANTS, Row
from swarmeval.scores.latency import line

FEWEST = 12  # requests, or files, that one is compared with
FAR = 3.0  # quartile ranges beyond the quartile: what Tukey calls far out (1977, Exploratory Data Analysis, 2D)
MANY_FUNCTIONS = 10
UNKNOWN = "nothing in its row tells"


@dataclass(frozen=True, slots=True)
class Fence:
    """Between which bounds values are no outliers."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float], far: float = FAR) -> "Fence":
        low, high = map(float, np.percentile(values, (25, 75)))
        return cls(low - far * (high - low), high + far * (high - low))


@dataclass(frozen=True, slots=True)
class Like:
    """What requests of a level and package are compared with."""

    latency: Fence
    off_line: Fence | None  # seconds above the regression line; None without one
    intercept_s: float
    s_per_token: float
    input_tokens: float  # beyond which a prompt is very long
    output_tokens: float
    tokens_a_function: float  # of input, in the median

    def off(self, row: Row) -> float | None:
        """Seconds above the line."""
        if self.off_line is None or row.asked.output_tokens is None:
            return None
        return row.asked.latency_s - self.intercept_s - self.s_per_token * row.asked.output_tokens

    def scatter(self) -> float:
        """Seconds between the fences, to compare outliers of different packages by."""
        return max(self.latency.high - self.latency.low, 1e-12)


def requests(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The outliers among all rows, the farthest first; failed requests are no outliers but for their time."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.level, row.package].append(row)
    found = []
    for members in groups.values():
        counted = [row for row in members if row.asked.counts and row.asked.error is None]
        if len(counted) >= FEWEST:
            like = _like(counted)
            found += [(far, entry) for row in members if (judged := _judged(row, like)) for far, entry in (judged,)]
    return [entry for _, entry in sorted(found, key=lambda pair: -pair[0])]


def files(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The test files of each level and package that took far longer than the others, the farthest first.

    A file's time: from the moment its first request was meant to begin to the moment it was written.
    """
    groups: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.asked.counts and row.written_s is not None:
            groups[row.level, row.package][row.module].append(row)
    found = []
    for (level, package), modules in groups.items():
        if len(modules) < FEWEST:
            continue
        seconds = {module: file_seconds(members) for module, members in modules.items()}
        fence, numbers = Fence.around(list(seconds.values())), [len(members) for members in modules.values()]
        answers = [float(row.asked.output_tokens or 0) for members in modules.values() for row in members]
        long_answer = Fence.around(answers, 1.5).high
        for module, members in modules.items():
            if seconds[module] > fence.high:
                reasons = _of_file(members, statistics.median(numbers), long_answer)
                found.append({
                    "level": level, "package": package, "module": module, "seconds": seconds[module],
                    "requests": len(members), "beyond_s": fence.high, "reasons": reasons or [UNKNOWN],
                })  # fmt: skip
    return sorted(found, key=lambda entry: entry["beyond_s"] - entry["seconds"])


def file_seconds(rows: Sequence[Row]) -> float:
    """From the intended begin of the first of a file's requests to the file."""
    return max(row.written_s or row.asked.last_s for row in rows) - min(row.asked.intended_s for row in rows)


def _like(counted: Sequence[Row]) -> Like:
    told = [(row.asked.output_tokens, row.asked.latency_s) for row in counted if row.asked.output_tokens is not None]
    straight = line([float(tokens) for tokens, _ in told], [s for _, s in told]) if len(told) >= FEWEST else None
    slope, intercept = (straight.slope, straight.intercept) if straight else (0.0, 0.0)
    off = [seconds - intercept - slope * tokens for tokens, seconds in told] if straight else []
    inputs = [float(row.asked.input_tokens) for row in counted if row.asked.input_tokens is not None]
    outputs = [float(tokens) for tokens, _ in told]
    shares = [row.asked.input_tokens / row.functions for row in counted if row.asked.input_tokens and row.functions]
    return Like(
        Fence.around([row.asked.latency_s for row in counted]), Fence.around(off) if off else None, intercept, slope,
        Fence.around(inputs).high if inputs else 0.0, Fence.around(outputs, 1.5).high if outputs else 0.0,
        statistics.median(shares) if shares else 0.0,
    )  # fmt: skip


def _judged(row: Row, like: Like) -> tuple[float, dict[str, Any]] | None:
    """(how far, what is said of it); None of a request that is no outlier."""
    asked, off = row.asked, like.off(row)
    far, how = asked.latency_s - like.latency.high, "latency"
    if far <= 0 and off is not None and like.off_line is not None and asked.error is None:
        far, how = max((off - like.off_line.high, "above its line"), (like.off_line.low - off, "below its line"))
    if far <= 0:
        return None
    reasons = [words for rule in REASONS if (words := rule(row, like))]
    return far / like.scatter(), {
        "level": row.level, "number": asked.number, "package": row.package, "module": row.module,
        "function": row.function, "latency_s": asked.latency_s, "ttft_s": asked.ttft_s,
        "input_tokens": asked.input_tokens, "output_tokens": asked.output_tokens, "how": how,
        "off_line_s": off, "reasons": reasons or [UNKNOWN],
    }  # fmt: skip


def _failed(row: Row, _: Like) -> str:
    return f"failed: {row.asked.error}" if row.asked.error is not None else ""


def _retried(row: Row, _: Like) -> str:
    return f"sent {row.attempts} times" if row.attempts > 1 else ""


def _warm_up(row: Row, _: Like) -> str:
    return "" if row.asked.counts else "in the warm-up"


def _constants(row: Row, _: Like) -> str:
    return "constants only" if row.kind == CONSTANTS or row.functions == 0 else ""


def _small_functions(row: Row, like: Like) -> str:
    many, tokens = row.functions or 0, row.asked.input_tokens or 0
    return f"many small functions ({many})" if many >= MANY_FUNCTIONS and tokens / many < like.tokens_a_function else ""


def _long_input(row: Row, like: Like) -> str:
    tokens = row.asked.input_tokens
    return f"very long input ({tokens:,} tokens)" if tokens is not None and tokens > like.input_tokens else ""


def _long_answer(row: Row, like: Like) -> str:
    tokens = row.asked.output_tokens
    return f"long answer ({tokens:,} tokens)" if tokens is not None and tokens > like.output_tokens else ""


def _unsent(row: Row, _: Like) -> str:
    waited = row.asked.sent_s - row.asked.intended_s
    return f"waited {waited:.3g} s before it was sent" if waited > row.asked.latency_s / 3 else ""


def _late_first_token(row: Row, _: Like) -> str:
    if row.asked.first_s is None:
        return ""
    waited = row.asked.first_s - row.asked.sent_s
    return f"waited {waited:.3g} s for its first token" if waited > row.asked.latency_s / 2 else ""


REASONS: tuple[Callable[[Row, Like], str], ...] = (
    _failed, _retried, _warm_up, _constants, _small_functions, _long_input, _long_answer, _unsent, _late_first_token,
)  # fmt: skip


def _of_file(rows: Sequence[Row], usual: float, long_answer: float) -> list[str]:
    """Why one test file took long; `usual`: requests of a file in the median, `long_answer`: tokens of one."""
    failed, retried = sum(row.asked.error is not None for row in rows), sum(row.attempts > 1 for row in rows)
    found = [f"{failed} of its requests failed"] if failed else []
    found += [f"{retried} of its requests sent again"] if retried else []
    if all(row.kind == CONSTANTS or row.functions == 0 for row in rows):
        found.append("constants only")
    tokens = [row.asked.output_tokens for row in rows if row.asked.output_tokens is not None]
    if len(rows) >= max(2 * usual, MANY_FUNCTIONS):
        middle = f", {statistics.median(tokens):.0f} output tokens in the median" if tokens else ""
        found.append(f"many small functions ({sum(row.functions or 0 for row in rows)}{middle})")
    elif tokens and max(tokens) > long_answer:
        found.append(f"a long answer ({max(tokens):,} tokens)")
    spent, waited = file_seconds(rows), _without_any(rows)
    if waited > spent / 2:
        found.append(f"waited {waited:.3g} s between its requests")
    return found


def _without_any(rows: Sequence[Row]) -> float:
    """Seconds between the first intended begin and the last answer in which none of a file's requests was out."""
    free, until = 0.0, min(row.asked.intended_s for row in rows)
    for asked in sorted((row.asked for row in rows), key=lambda asked: asked.intended_s):
        free += max(0.0, asked.intended_s - until)
        until = max(until, asked.last_s)
    return free
