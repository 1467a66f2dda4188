"""From a record of ``requests`` to a question with a deadline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from schemas.codec import decode_request
from schemas.errors import RequestError
from schemas.events import RecommendationRequest
from streams.tracing import RequestSpan


class RequestRecord(Protocol):
    """What is used of a consumer's record."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request lies in the log, and the key its answer gets.

    Attributes:
        partition: the partition.
        offset: the offset in it.
        key: of the record.
        span: what traces it; None where nothing is traced.
    """

    partition: int
    offset: int
    key: bytes | None
    span: RequestSpan | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, record: RequestRecord, span: RequestSpan | None = None) -> Self:
        """Return the place of a record."""
        return cls(record.partition, record.offset, record.key, span)


@dataclass(slots=True, eq=False)
class Question:
    """A request to be answered.

    Attributes:
        place: where it lies.
        request: what is asked.
        received_s: when it came, on the monotonic clock.
        deadline_ms: when it expires, on the wall clock.
        has_waited: whether its state was looked at and not reached.
        fault: why it could not be looked at when last tried.
    """

    place: Place
    request: RecommendationRequest
    received_s: float
    deadline_ms: float
    has_waited: bool = False
    fault: str = ""

    def is_expired(self, now_ms: float) -> bool:
        """Return whether the deadline has passed."""
        return now_ms > self.deadline_ms


def read_question(
    record: RequestRecord, partitions: int, received_s: float, now_ms: float, span: RequestSpan | None = None
) -> Question:
    """Return the question of a record.

    The deadline counts from ``ts_ms``, or the record's timestamp; neither is believed to lie ahead of the clock.

    Args:
        record: the record.
        partitions: of the ratings topic.
        received_s: the monotonic clock.
        now_ms: the wall clock.
        span: what traces it.

    Raises:
        EventError: no request_id or user_id can be read; to be dead-lettered.
        RequestError: any other fault; to be answered.
    """
    request = decode_request(record.value)
    position = request.min_position
    if position is not None and position.partition >= partitions:
        raise RequestError(
            "invalid_request",
            f"min_position.partition must be in [0, {partitions}), got {position.partition}",
            request_id=request.request_id,
            user_id=request.user_id,
        )
    asked_ms = request.ts_ms if request.ts_ms is not None else record.timestamp
    if asked_ms < 0 and request.ts_ms is None:
        asked_ms = int(now_ms)
    deadline_ms = min(asked_ms, now_ms) + request.deadline_ms
    return Question(Place.of(record, span), request, received_s, deadline_ms)
