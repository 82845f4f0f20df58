"""Prometheus metrics of the judge over HTTP."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from swarmeval.records import Verdict

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class JudgeMetrics:
    """The metrics of one server, in their own registry."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """`waiting` returns the number of items that wait for a turn."""
        self._count_waiting = waiting
        self._registry = CollectorRegistry()
        self._calls = Counter("swarmeval_judge_calls", "finished calls", ("path", "status"), registry=self._registry)
        self._verdicts = Counter("swarmeval_judge_verdicts", "verdicts", ("outcome",), registry=self._registry)
        self._shared = Counter("swarmeval_judge_shared", "verdicts of an equal program", registry=self._registry)
        self._runs = Counter("swarmeval_judge_runs", "programs of /run_code", ("status",), registry=self._registry)
        self._failures = Counter("swarmeval_judge_failures", "items without a verdict", registry=self._registry)
        self._took = Histogram(
            "swarmeval_judge_item_seconds",
            "extraction and execution of an item",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._waiting = Gauge("swarmeval_judge_waiting", "items that wait for a turn", registry=self._registry)

    def call(self, path: str, status: int) -> None:
        """Count a finished HTTP call."""
        self._calls.labels(path, status).inc()

    def verdict(self, verdict: Verdict) -> None:
        self._verdicts.labels(verdict.outcome).inc()
        self._took.observe(verdict.judge_s)
        if verdict.shared:
            self._shared.inc()

    def run(self, status: str) -> None:
        self._runs.labels(status).inc()

    def failure(self) -> None:
        self._failures.inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        self._waiting.set(self._count_waiting())
        return generate_latest(self._registry)
