"""Traces, where ``otlp_endpoint`` asks for them; OpenTelemetry is imported only then."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from schemas.events import Recommendation
from streams.bus.dead_letters import DeadLetter
from streams.settings import Settings

Headers = Sequence[tuple[str, bytes]]


class RequestSpan(Protocol):
    """The span of one request, from when it was taken off the bus."""

    def finish(self, answer: Recommendation) -> list[tuple[str, bytes]]:
        """End it with an answer; return the headers that carry the trace on."""

    def refuse(self, letter: DeadLetter) -> None:
        """End it with a dead letter."""


class Spans(Protocol):
    """Makes the spans of one process."""

    def begin_request(self, topic: str, partition: int, offset: int, headers: Headers) -> RequestSpan:
        """Begin the span of a request, a child of the one that its record carries."""

    def note_batch(
        self, topic: str, partition: int, records: Sequence[Any], seconds: float, figures: Mapping[str, Any]
    ) -> None:
        """Note the span of a batch of ratings that was just applied, linked to those its records carry.

        Args:
            topic: of the records.
            partition: theirs.
            records: with headers.
            seconds: how long it took.
            figures: what it did, by name; numbers, or numbers by name.
        """


@contextlib.contextmanager
def open_tracing(settings: Settings, role: str) -> Iterator[Spans | None]:
    """Yield what makes spans, where ``otlp_endpoint`` is set, else None; at the end send what is left.

    Args:
        settings: where the collector is.
        role: what the process is; its service is called `streamrec-<role>`.

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """
    if not settings.otlp_endpoint:
        yield None
        return
    from streams.spans import OtlpSpans  # noqa: PLC0415 - an extra, and only where it is wanted

    with contextlib.closing(OtlpSpans(settings.otlp_endpoint, role)) as spans:
        yield spans
