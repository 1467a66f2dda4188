"""Spans by OpenTelemetry, sent over OTLP/HTTP; imported only where tracing is on.

A trace comes with a record's headers `traceparent` and `tracestate`, as W3C Trace Context has them, and goes on in
those of the answer. Which traces are kept is OpenTelemetry's affair: the parent's word, else ``OTEL_TRACES_SAMPLER``.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog

from schemas.errors import ConfigurationError
from schemas.events import Recommendation
from streams.bus.dead_letters import CODE_VERSION, DeadLetter
from streams.tracing import Headers

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Link, Span, SpanKind, StatusCode, get_current_span, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:
    raise ConfigurationError(
        "otlp_endpoint needs OpenTelemetry: install streamrec[tracing], or leave otlp_endpoint empty"
    ) from missing

log = structlog.get_logger(__name__)

MAX_LINKS = 128
"""As many links OpenTelemetry keeps of a span; a batch may have 2,048 records."""
SEND_TIMEOUT_S = 2.0
END_TIMEOUT_S = 2.0
"""A collector that is away must not hold up a clean end."""
_FIELDS = ("traceparent", "tracestate")
_PROPAGATOR = TraceContextTextMapPropagator()


class OtlpSpans:
    """Makes spans and sends them in a thread of its own; those that find its queue full are lost.

    Args:
        endpoint: URL of the collector, without `/v1/traces`.
        role: what the process is.
    """

    def __init__(self, endpoint: str, role: str) -> None:
        resource = Resource.create({"service.name": f"streamrec-{role}", "service.version": CODE_VERSION})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("streamrec", CODE_VERSION)

    def begin_request(self, topic: str, partition: int, offset: int, headers: Headers) -> "_RequestSpan":
        """Begin the span of a request, a child of the one that its record carries."""
        span = self._tracer.start_span(
            f"{topic} process",
            _context_of(headers),
            SpanKind.CONSUMER,
            _place(topic, partition) | {"messaging.kafka.offset": offset},
        )
        return _RequestSpan(span)

    def note_batch(
        self, topic: str, partition: int, records: Sequence[Any], seconds: float, figures: Mapping[str, Any]
    ) -> None:
        """Note the span of a batch of ratings that was just applied, linked to those its records carry."""
        ended_ns = time.time_ns()
        attributes = _place(topic, partition) | {"messaging.batch.message_count": len(records)}
        for name, value in figures.items():
            of_names = value if isinstance(value, Mapping) else {"": value}
            attributes |= {f"streamrec.{name}.{key}".rstrip("."): each for key, each in of_names.items()}
        span = self._tracer.start_span(
            f"{topic} apply",
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=_links(records),
            start_time=ended_ns - int(seconds * 1e9),
        )
        span.end(ended_ns)

    def close(self) -> None:
        """Send what is left, for at most :data:`END_TIMEOUT_S`."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(END_TIMEOUT_S)
        if ending.is_alive():
            log.warning("traces.unsent", after_s=END_TIMEOUT_S)


class _RequestSpan:
    def __init__(self, span: Span) -> None:
        self._span = span

    def finish(self, answer: Recommendation) -> list[tuple[str, bytes]]:
        """End it with an answer; return the headers that carry the trace on."""
        span = self._span
        if span.is_recording():
            span.set_attributes(
                {
                    "streamrec.policy": answer.policy or "",
                    "streamrec.items": len(answer.items),
                    "streamrec.queue_ms": answer.timing.queue_ms,
                    "streamrec.score_ms": answer.timing.score_ms,
                }
            )
            if answer.error is not None:
                span.set_status(StatusCode.ERROR, answer.error.code)
            span.end()
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, set_span_in_context(span))
        return [(name, value.encode()) for name, value in carrier.items()]

    def refuse(self, letter: DeadLetter) -> None:
        """End it with a dead letter."""
        self._span.set_status(StatusCode.ERROR, dict(letter.headers)["streamrec-reason"].decode())
        self._span.end()


def _place(topic: str, partition: int) -> dict[str, Any]:
    """Return the attributes that OpenTelemetry's conventions have for a place in Kafka."""
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
    }


def _context_of(headers: Headers | None) -> Any:
    carrier = {name: value.decode("ascii", "replace") for name, value in headers or () if name in _FIELDS and value}
    return _PROPAGATOR.extract(carrier) if carrier else None


def _links(records: Iterable[Any]) -> list[Link]:
    links: list[Link] = []
    for record in records:
        context = _context_of(record.headers)
        if context is not None and (parent := get_current_span(context).get_span_context()).is_valid:
            links.append(Link(parent))
            if len(links) == MAX_LINKS:
                break
    return links
