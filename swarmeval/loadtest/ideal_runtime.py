"""Idealized runtime: the time that requests would take without contention, from fitted prefill and decode costs.

Narayanan et al. 2023, Cheaply Evaluating Inference Efficiency Metrics for Autoregressive Transformer APIs
(arXiv 2305.02440): a request's idealized runtime is the cost of its prompt plus a constant cost per generated token.
The paper takes the minimum over many trials as a cost. This module fits the costs to the requests that shared the
server with the fewest others.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmeval.loadtest.outliers import Fence
from swarmeval.loadtest.request_rows import RequestRow

FEWEST = 12  # requests to fit costs to
QUIET = 0.25  # a request with at most this many concurrent others, on average, counts as alone
ENOUGH = 30  # requests to fit to, the least disturbed ones first, if fewer than FEWEST were alone
LEAST_EXPLAINED = 0.5  # smallest R squared of a usable fit; below 0, the mean of the latencies would fit better
INNER = 1.5  # interquartile ranges beyond the quartile
ROUNDING = 1e-6  # tolerance, as a share of the fitted time
ROUNDS = 10

Array = NDArray[np.float64]
RowConcurrency = tuple[float, RequestRow]  # average number of concurrent others, and the request


@dataclass(frozen=True, slots=True)
class Costs:
    """Time of an undisturbed request: fixed_s + input tokens x per_input + (output tokens - 1) x per_output."""

    fixed_s: float
    per_input_token_s: float | None  # None if all prompts had the same length; then part of fixed_s
    per_output_token_s: float
    requests: int  # number of requests fitted to
    alone: int  # how many of them ran alone
    others: float  # average number of concurrent requests beside each of them
    r_squared: float | None
    streamed: bool  # time to first token was known, so prefill and decode were fitted separately

    def fault(self) -> str:
        """Why the fit is unusable; "" if it is usable. R squared is None, and the fit usable, without scatter."""
        if self.r_squared is None or self.r_squared >= LEAST_EXPLAINED:
            return ""
        return f"the fitted costs explain too little of the latencies (R² {self.r_squared:.2g})"

    def seconds(self, row: RequestRow) -> float | None:
        """Idealized runtime of one request; None if its token counts are unknown."""
        request = row.request
        if request.input_tokens is None or not request.output_tokens:
            return None
        prefill = self.fixed_s + (self.per_input_token_s or 0.0) * request.input_tokens
        return prefill + self.per_output_token_s * (request.output_tokens - 1)


def concurrent_requests(rows: Sequence[RequestRow]) -> list[float]:
    """Average number of other requests in flight during each request of one level."""
    begins, ends = (
        np.array([getattr(row.request, name) for row in rows], dtype=float) for name in ("sent_s", "last_s")
    )
    times = np.concatenate([begins, ends])
    order = np.argsort(times, kind="stable")
    at = times[order]
    in_air = np.cumsum(np.concatenate([np.ones(len(rows)), -np.ones(len(rows))])[order])
    area = np.concatenate([[0.0], np.cumsum(in_air[:-1] * np.diff(at))])  # request-seconds up to each moment
    spans = ends - begins
    shared = np.interp(ends, at, area) - np.interp(begins, at, area)
    others = np.where(spans > 0, shared / np.where(spans > 0, spans, 1.0), 1.0) - 1.0
    return [max(0.0, float(value)) for value in others.round(9)]


def costs(levels: Sequence[Sequence[RequestRow]]) -> Costs:
    """Fit the costs to the least disturbed requests of all levels, by non-negative least squares.

    Contention only ever adds time. Requests far above the fit (Tukey's inner fence on the relative residuals) met
    contention from elsewhere; they are dropped and the fit is repeated.
    Raises ValueError if too few requests report their token counts.
    """
    chosen = _quietest(levels)
    for _ in range(ROUNDS):
        fitted, over = _fitted(chosen)
        fence = Fence.around(over, INNER).high + ROUNDING
        retained = [pair for pair, share in zip(chosen, over, strict=True) if share <= fence]
        if len(retained) == len(chosen) or len(retained) < FEWEST:
            break
        chosen = retained
    return fitted


def _quietest(levels: Sequence[Sequence[RequestRow]]) -> list[RowConcurrency]:
    """The requests that were alone; if those are too few, the ones with the fewest concurrent others."""
    pairs = [
        (others, row)
        for rows in levels
        if rows
        for others, row in zip(concurrent_requests(rows), rows, strict=True)
        if row.request.counts and row.request.error is None and row.attempts == 1
        and row.request.input_tokens is not None and (row.request.output_tokens or 0) > 1
    ]  # fmt: skip
    if len(pairs) < FEWEST:
        raise ValueError(f"fitting costs needs at least {FEWEST} answers of two tokens or more; there are {len(pairs)}")
    pairs.sort(key=lambda pair: pair[0])
    undisturbed = sum(others <= QUIET for others, _ in pairs)
    return pairs[: undisturbed if undisturbed >= FEWEST else min(len(pairs), ENOUGH)]


def _fitted(chosen: Sequence[RowConcurrency]) -> tuple[Costs, list[float]]:
    """Fit the costs; also return each request's residual as a share of its fitted time."""
    from scipy.optimize import nnls

    measured = [row.request for _, row in chosen]
    prompts = np.array([one.input_tokens for one in measured], dtype=float)
    steps = np.array([(one.output_tokens or 1) - 1 for one in measured], dtype=float)
    whole = np.array([one.last_s - one.sent_s for one in measured])
    firsts = [one.first_s - one.sent_s for one in measured if one.first_s is not None]
    streamed = len(firsts) == len(measured)
    prefill = [np.ones_like(prompts), *([prompts] if np.ptp(prompts) > 0 else [])]
    if streamed:
        first = np.array(firsts)
        coefficients, _ = nnls(np.column_stack(prefill), first)
        per_output = max(0.0, float(steps @ (whole - first) / (steps @ steps)))
    else:
        coefficients, _ = nnls(np.column_stack([*prefill, steps]), whole)
        per_output = float(coefficients[-1])
    fixed, per_input = float(coefficients[0]), float(coefficients[1]) if len(prefill) > 1 else None
    fitted = fixed + (per_input or 0.0) * prompts + per_output * steps
    others = statistics.fmean(others for others, _ in chosen)
    alone = sum(others <= QUIET for others, _ in chosen)
    costs = Costs(fixed, per_input, per_output, len(chosen), alone, others, _explained(whole, fitted), streamed)
    return costs, [float(share) for share in (whole - fitted) / np.maximum(fitted, 1e-12)]


def idealized(rows: Sequence[RequestRow], fitted: Costs) -> dict[str, Any]:
    """Raw and idealized runtime of answered requests, and their ratio, the contention factor.

    Raises ValueError if no request reports its token counts or the fit is unusable.
    """
    if fault := fitted.fault():
        raise ValueError(fault)
    pairs = [(row.request.latency_s, seconds) for row in rows if (seconds := fitted.seconds(row)) is not None]
    if not pairs:
        raise ValueError("no answer reported its input and output tokens")
    raw, ideal = ([pair[k] for pair in pairs] for k in (0, 1))
    total = math.fsum(ideal)
    return {
        "requests": len(pairs),
        "raw_mean_s": statistics.fmean(raw), "idealized_mean_s": statistics.fmean(ideal),
        "raw_p50_s": statistics.median(raw), "idealized_p50_s": statistics.median(ideal),
        "contention_factor": math.fsum(raw) / total if total > 0 else None,
    }  # fmt: skip


def _explained(seconds: Array, fitted: Array) -> float | None:
    """R squared; None if all requests took the same time."""
    scatter = float(((seconds - seconds.mean()) ** 2).sum())
    return 1 - float(((seconds - fitted) ** 2).sum()) / scatter if scatter > 0 else None
