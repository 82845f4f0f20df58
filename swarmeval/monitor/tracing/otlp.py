"""Exports spans to an OpenTelemetry collector by OTLP over HTTP.

The only module that uses opentelemetry. Its calls may block on the collector, so a QueuedTracker's thread makes them.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swarmeval.monitor.tracking.subject import Subject
from swarmeval.monitor.tracking.tracker import Store
from swarmeval.secrets import scrub, scrubbed
from swarmeval.version import VERSION

STORE = Store("OpenTelemetry", "the last spans were not sent", finish_limit_s=6.0)
FLUSH_EVERY = 500  # spans; fewer than the SDK's own queue holds, which drops spans without a count
ROOT = "swarmeval run"

log = logging.getLogger("swarmeval")

Attributes = Mapping[str, str | int | float | bool | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class TelemetryEvent:
    """Something that happened during a span, or to its result afterwards."""

    name: str
    at_s: float  # Unix time
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class TelemetrySpan:
    """A span that has ended."""

    name: str
    start_s: float  # Unix time
    end_s: float
    attributes: Attributes
    is_request: bool = False  # whether it is a request to a model
    error: str = ""
    event: TelemetryEvent | None = None
    children: tuple["TelemetrySpan", ...] = ()


class OtlpTrace:
    """The trace of a run, with the methods that a QueuedTracker needs."""

    def __init__(self, provider: Any, root: Any, run_id: str, complaints: logging.Handler) -> None:
        self._provider = provider
        self._complaints = complaints
        self._tracer = provider.get_tracer("swarmeval", VERSION)
        self._root = root
        self._run_id = run_id
        self._unflushed = 0

    def log(self, values: TelemetrySpan) -> None:
        """Export a span as a child of the run's."""
        self._add(values, self._root)
        if self._unflushed >= FLUSH_EVERY:
            self._unflushed = 0
            self._provider.force_flush()

    def conclude(self, summary: Mapping[str, object]) -> None:
        """Add the main numbers of the summary to the run's span, which holds 128 attributes."""
        for name, value in summary.items():
            if isinstance(value, int | float):
                self._root.set_attribute(f"swarmeval.{name}", value)

    def finish(self) -> None:
        """End the run's span and send what is left."""
        self._root.end()
        self._provider.shutdown()
        logging.getLogger("opentelemetry").removeHandler(self._complaints)

    def _add(self, span: TelemetrySpan, parent: Any) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        made = self._tracer.start_span(
            span.name,
            context=set_span_in_context(parent),
            kind=SpanKind.CLIENT if span.is_request else SpanKind.INTERNAL,
            attributes=scrubbed({**span.attributes, "swarmeval.run_id": self._run_id}),
            start_time=nanoseconds(span.start_s),
        )
        self._unflushed += 1
        if span.event is not None:
            event = span.event
            made.add_event(event.name, scrubbed(event.attributes), nanoseconds(event.at_s))
        if span.error:
            made.set_status(Status(StatusCode.ERROR, scrub(span.error)))
        for child in span.children:
            self._add(child, made)
        made.end(nanoseconds(span.end_s))


class _FirstComplaint(logging.Handler):
    """Passes the first warning of the exporter on to our log, because a lost collector causes many."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._has_warned = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning("OpenTelemetry: %s", " ".join(record.getMessage().split()))


def open_trace(subject: Subject, began_s: float, attributes: Attributes) -> OtlpTrace:
    """Start the trace of a run. TRACEPARENT, if set, names the span of another system that it belongs to."""
    complaints = _FirstComplaint()
    logging.getLogger("opentelemetry").addHandler(complaints)  # otherwise warnings go to stderr
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    ours = Resource.create({"service.name": "swarmeval", "service.version": VERSION})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(traces_url(subject.config.opentelemetry.endpoint))))
    above = {name: subject.environ.get(name.upper(), "") for name in ("traceparent", "tracestate")}
    root = provider.get_tracer("swarmeval", VERSION).start_span(
        ROOT,
        context=TraceContextTextMapPropagator().extract(above),
        attributes=scrubbed({**attributes, "swarmeval.run_id": subject.run_id}),
        start_time=nanoseconds(began_s),
    )
    log.info("OpenTelemetry trace %032x", root.get_span_context().trace_id)
    return OtlpTrace(provider, root, subject.run_id, complaints)


def traces_url(endpoint: str | None) -> str | None:
    """The URL that receives traces; None if the user's variables name it."""
    return None if endpoint is None else f"{endpoint.rstrip('/').removesuffix('/v1/traces')}/v1/traces"


def nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
