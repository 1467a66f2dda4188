"""Replay a log of ratings through the bus: as fast as it goes, at a rate, or in the log's own rhythm."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kafka.errors import KafkaError

from schemas.codec import encode
from schemas.events import RatingEvent

PROGRESS_EVERY_S = 0.1
SETTLE_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is.

    Attributes:
        sent: events handed to the producer.
        published: events the broker acknowledged.
        errors: events it did not.
        seconds: since the start.
        first_error: the first reason, empty without errors.
    """

    sent: int
    published: int
    errors: int
    seconds: float
    first_error: str = ""

    @property
    def rate(self) -> float:
        """Events acknowledged a second."""
        return self.published / self.seconds if self.seconds > 0 else 0.0


class _Outstanding:
    """The sends whose outcome is not known yet, oldest first, and the count of those known."""

    def __init__(self) -> None:
        self._futures: deque[Any] = deque()
        self.published = 0
        self.errors = 0
        self.first_error = ""

    def add(self, future: Any) -> None:
        self._futures.append(future)
        while self._futures and self._futures[0].is_done:
            self._settle(self._futures.popleft())

    def refuse(self, error: BaseException) -> None:
        self.errors += 1
        self.first_error = self.first_error or repr(error)

    def settle_all(self, timeout_s: float) -> None:
        """Wait until everything is known; what is not by then counts as an error."""
        deadline = time.monotonic() + timeout_s
        while self._futures:
            future = self._futures.popleft()
            try:
                future.get(timeout=max(0.0, deadline - time.monotonic()))
            except KafkaError as error:
                self.refuse(error)
            else:
                self.published += 1

    def _settle(self, future: Any) -> None:
        if future.failed():
            self.refuse(future.exception)
        else:
            self.published += 1


def replay(
    events: Iterable[RatingEvent],
    producer: Any,
    topic: str,
    *,
    rate: float | None = None,
    speed: float | None = None,
    on_progress: Callable[[ReplayProgress], None] | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] | None = None,
) -> ReplayProgress:
    """Send events in their order, key = user_id, and return once each was acknowledged or refused.

    The schedule is open: an event is due at its own time, however late the ones before it went out. The records'
    timestamps are the broker's business; ``ts_ms`` stays in the value.

    Args:
        events: what to send; read as it is sent.
        producer: a kafka-python producer; it is flushed, not closed.
        topic: name of the topic.
        rate: events a second; None for no limit.
        speed: multiple of the speed at which the events' ``ts_ms`` pass; an event without one is due with the one
            before it, and time that runs backwards stands still. None for no rhythm.
        on_progress: called about ten times a second, and at the end.
        stop: ends the replay early once set.
        clock: seconds from any origin.
        wait: pauses for some seconds; waits for ``stop`` unless given.

    Raises:
        ValueError: both ``rate`` and ``speed`` are given, or one is not positive.
    """
    if rate is not None and speed is not None:
        raise ValueError(f"rate and speed exclude one another, got {rate} and {speed}")
    stop = stop or threading.Event()
    wait = wait or stop.wait
    outstanding = _Outstanding()
    started = clock()
    sent = 0
    reported = started

    def progress() -> ReplayProgress:
        return ReplayProgress(
            sent, outstanding.published, outstanding.errors, clock() - started, outstanding.first_error
        )

    for due, event in _schedule(events, rate, speed):
        if stop.is_set():
            break
        ahead_s = started + due - clock()
        if ahead_s > 0:
            wait(ahead_s)
        _send(producer, topic, event, outstanding)
        sent += 1
        now = clock()
        if on_progress is not None and now - reported >= PROGRESS_EVERY_S:
            reported = now
            on_progress(progress())
    _flush(producer)
    outstanding.settle_all(SETTLE_TIMEOUT_S)
    final = progress()
    if on_progress is not None:
        on_progress(final)
    return final


def _schedule(
    events: Iterable[RatingEvent], rate: float | None, speed: float | None
) -> Iterator[tuple[float, RatingEvent]]:
    """Yield each event with the seconds after the start at which it is due."""
    for name, value in (("rate", rate), ("speed", speed)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
    first_ms: int | None = None
    due = 0.0
    for i, event in enumerate(events):
        if rate is not None:
            due = i / rate
        elif speed is not None and event.ts_ms is not None:
            first_ms = event.ts_ms if first_ms is None else first_ms
            due = max(due, (event.ts_ms - first_ms) / 1000.0 / speed)
        yield due, event


def _send(producer: Any, topic: str, event: RatingEvent, outstanding: _Outstanding) -> None:
    try:
        outstanding.add(producer.send(topic, key=event.user_id.encode(), value=encode(event)))
    except KafkaError as error:
        outstanding.refuse(error)


def _flush(producer: Any) -> None:
    """Push out what is buffered; whether it arrived, each send's future tells."""
    with contextlib.suppress(KafkaError):
        producer.flush(timeout=SETTLE_TIMEOUT_S)
