"""Every attribute and metric name of the platform, and the few calls that make spans.

One span per request, per partition's batch and per batch of timers. What caused a batch is linked, not parented: a
batch has many causes. No name, mail, pay or employee id stands in a span; the event id does, because it is opaque.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags
from prometheus_client import Counter, Gauge, Histogram

# Attributes; the messaging and HTTP ones follow the semantic conventions.
DESTINATION = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
BATCH_SIZE = "messaging.batch.message_count"
FIRST_OFFSET = "messaging.kafka.offset"
ERROR_TYPE = "error.type"
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
TIMER_KIND = "plumbline.timer.kind"
PARKED = "plumbline.dead_letters"

REQUEST_SECONDS = Histogram(
    "plumbline_http_request_seconds", "Duration of a request by route and status", ["method", "route", "status"]
)
BATCH_SECONDS = Histogram(
    "plumbline_batch_seconds", "From the first record of a batch in hand to its commit", ["topic"]
)
RECORDS = Counter("plumbline_records", "Records by fate: applied, parked", ["topic", "fate"])
LAG_RECORDS = Gauge("plumbline_lag_records", "Records behind the end of a partition", ["topic", "partition"])
LAG_SECONDS = Gauge(
    "plumbline_lag_seconds", "Age of the last record applied when it was applied", ["topic", "partition"]
)
LAST_BATCH = Gauge("plumbline_last_batch_timestamp_seconds", "When a batch was last committed", ["topic"])
RELAYED = Counter("plumbline_outbox_relayed", "Events of the outbox acknowledged by the broker")
OUTBOX_DEPTH = Gauge("plumbline_outbox_depth", "Events of the outbox read in the last look, about one round at most")
OUTBOX_AGE = Gauge("plumbline_outbox_oldest_age_seconds", "Age of the oldest row in the outbox at the last look")
TIMERS = Counter("plumbline_timers", "Timers by fate: ran, parked", ["kind", "fate"])

_TRACER = trace.get_tracer("plumbline")
_MAX_LINKS = 10_000  # a batch never has more records; a cut-off link would break the story of one event


class Tracing:
    """The process's tracer; without an endpoint nothing is recorded, and the calls below cost next to nothing."""

    def __init__(self, service: str, endpoint: str | None) -> None:
        self._provider: TracerProvider | None = None
        if endpoint is None:
            return
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service}), span_limits=SpanLimits(max_links=_MAX_LINKS)
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=8192, schedule_delay_millis=1000))
        trace.set_tracer_provider(self._provider)

    def close(self) -> None:
        if self._provider is not None:
            self._provider.shutdown()


def current_traceparent() -> str | None:
    """The W3C `traceparent` of the span at work, to be stored beside what it caused."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def current_trace_id() -> str | None:
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def parse_traceparent(value: str | None) -> SpanContext | None:
    """What a `traceparent` names, or `None` for anything that is not one."""
    parts = (value or "").split("-")
    if len(parts) != 4 or [len(part) for part in parts] != [2, 32, 16, 2]:
        return None
    try:
        context = SpanContext(int(parts[1], 16), int(parts[2], 16), True, TraceFlags(int(parts[3], 16)))
    except ValueError:
        return None
    return context if context.is_valid else None


def link(causes: Iterable[str | None]) -> None:
    """Link the span at work to what it turned out to rest on: rows know what wrote them, and are read only later."""
    current = trace.get_current_span()
    for found in filter(None, map(parse_traceparent, dict.fromkeys(causes))):
        current.add_link(found)


@contextmanager
def span(
    name: str,
    kind: SpanKind,
    attributes: dict[str, str | int],
    *,
    causes: Iterable[str | None] = (),
    parent: str | None = None,
) -> Iterator[Span]:
    """A span that is current inside the block, linked to the distinct `causes` (traceparents).

    An error leaves its type behind and nothing else: messages and stack traces can hold names and pay.
    """
    links = [Link(found) for found in map(parse_traceparent, dict.fromkeys(causes)) if found]
    inherited = parse_traceparent(parent)
    context = trace.set_span_in_context(NonRecordingSpan(inherited)) if inherited else None
    current = _TRACER.start_span(name, context, kind, attributes, links)
    token = attach(trace.set_span_in_context(current))
    try:
        yield current
    except BaseException as error:
        current.set_status(StatusCode.ERROR)
        current.set_attribute(ERROR_TYPE, type(error).__name__)
        raise
    finally:
        detach(token)
        current.end()
