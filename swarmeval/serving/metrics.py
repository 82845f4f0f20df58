"""Prometheus metrics of the server: calls, queue, rows, tokens, TTFT, TPOT, latency."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from swarmeval.requests import Reply
from swarmeval.serving.pool import Pool

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SECONDS_A_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class ServerMetrics:
    """The metrics of one server, in their own registry."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._registry = CollectorRegistry()
        self._calls = Counter("swarmeval_calls", "finished HTTP calls", ("path", "status"), registry=self._registry)
        self._prompt = Counter("swarmeval_prompt_tokens", "tokens of answered prompts", registry=self._registry)
        self._output = Counter("swarmeval_output_tokens", "tokens of answers, as delivered", registry=self._registry)
        self._computed: Counter | None = None  # exists once a replica has reported the figure
        self._ttft = Histogram(
            "swarmeval_ttft_seconds", "submit to first token", buckets=SECONDS, registry=self._registry
        )
        self._tpot = Histogram(
            "swarmeval_tpot_seconds", "per token after the first", buckets=SECONDS_A_TOKEN, registry=self._registry
        )
        self._latency = Histogram(
            "swarmeval_latency_seconds", "submit to last token", buckets=SECONDS, registry=self._registry
        )
        self._in_flight = Gauge("swarmeval_in_flight", "requested choices not yet answered", registry=self._registry)
        self._waiting = Gauge("swarmeval_waiting", "choices in flight without a row", registry=self._registry)
        self._rows = Gauge("swarmeval_rows", "rows of all ready replicas", registry=self._registry)
        self._in_use = Gauge("swarmeval_rows_in_use", "rows in use", ("device",), registry=self._registry)
        self._ready = Gauge("swarmeval_ready", "1 if the replica is ready", ("device",), registry=self._registry)
        self._restarts = Gauge("swarmeval_restarts", "starts after the first", ("device",), registry=self._registry)

    def call(self, path: str, status: int) -> None:
        """Count a finished HTTP call."""
        self._calls.labels(path, status).inc()

    def reply(self, reply: Reply) -> None:
        self._prompt.inc(reply.prompt_tokens)
        self._output.inc(reply.output_tokens)
        if reply.computed_tokens is not None:
            self._count_computed(reply.computed_tokens)
        self._ttft.observe(reply.ttft_s)
        self._latency.observe(reply.latency_s)
        if reply.output_tokens > 1:
            self._tpot.observe((reply.latency_s - reply.ttft_s) / (reply.output_tokens - 1))

    def _count_computed(self, tokens: int) -> None:
        if self._computed is None:
            name, words = "swarmeval_computed_tokens", "output tokens that went through a model, shared ones once"
            self._computed = Counter(name, words, registry=self._registry)
        self._computed.inc(tokens)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        self._in_flight.set(self._pool.in_flight)
        self._waiting.set(self._pool.waiting)
        self._rows.set(self._pool.rows)
        for member in self._pool.members:
            self._in_use.labels(member.worker.name).set(member.worker.progress.rows_in_use)
            self._ready.labels(member.worker.name).set(member.info is not None)
            self._restarts.labels(member.worker.name).set(max(0, member.supervisor.starts - 1))
        return generate_latest(self._registry)
