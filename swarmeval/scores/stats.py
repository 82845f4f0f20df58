"""pass@k, percentiles and throughput. Refuses undefined values; reads no files."""

import math
from collections.abc import Iterable, Mapping, Sequence

KS = (1, 10, 100)


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of k samples passes, estimated from n samples of which c passed.

    The estimate is unbiased (Chen et al. 2021, eq. 1). None exists if k > n, which raises ValueError.
    """
    if not 0 <= c <= n or k < 1:
        raise ValueError(f"pass@{k} is undefined for {c} passes among {n} samples")
    if k > n:
        raise ValueError(f"pass@{k} needs at least {k} samples per task; this task has {n}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def mean_pass_at_k(counts: Iterable[tuple[int, int]], k: int) -> float:
    """Mean of pass@k over tasks. `counts` are (n, c) per task: n samples with a verdict, of which c passed.

    Tasks with n = 0 are skipped. Raises ValueError if all are, or if any other task has fewer than k samples.
    """
    judged = [(n, c) for n, c in counts if n]
    if not judged:
        raise ValueError(f"pass@{k} needs a verdict; there is none")
    fewest = min(n for n, _ in judged)
    if fewest < k:
        raise ValueError(f"pass@{k} needs at least {k} samples per task; the fewest here are {fewest}")
    return math.fsum(pass_at_k(n, c, k) for n, c in judged) / len(judged)


def scores(counts: Sequence[tuple[int, int]]) -> tuple[dict[str, float | None], dict[str, str]]:
    """({"pass@k": value or None}, {"pass@k": reason for None}) for k in KS."""
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for k in KS:
        try:
            values[f"pass@{k}"] = mean_pass_at_k(counts, k)
        except ValueError as undefined:
            values[f"pass@{k}"] = None
            reasons[f"pass@{k}"] = str(undefined)
    return values, reasons


def percentile(ordered: Sequence[float], q: float) -> float | None:
    """The q-th percentile (0..100) of ascending values, by linear interpolation; None for an empty sequence."""
    if not ordered:
        return None
    place = (len(ordered) - 1) * q / 100
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def latency_summary(latencies: Iterable[float]) -> Mapping[str, float | None]:
    """Mean, p50, p95 and p99 in seconds; None for an empty sequence."""
    ordered = sorted(latencies)
    mean = math.fsum(ordered) / len(ordered) if ordered else None
    return {
        "mean_s": mean,
        "p50_s": percentile(ordered, 50),
        "p95_s": percentile(ordered, 95),
        "p99_s": percentile(ordered, 99),
    }


def rate(amount: float, seconds: float) -> float | None:
    """Amount per second; None if no time was measured."""
    return amount / seconds if seconds > 0 else None
