"""A steady stream of requests, and what came back: open loop, latency from the intended send time."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import msgspec
from kafka import TopicPartition

from schemas.codec import decode_answer, encode
from schemas.events import Recommendation, RecommendationRequest
from streams.bus.clients import make_consumer, make_producer
from streams.settings import Settings

_POLL_MS = 20
"""A longer poll can sleep through records that are there already."""


@dataclass(slots=True)
class AskingTally:
    """What a stream of requests amounts to so far.

    Attributes:
        sent: requests sent.
        answered: requests with at least one answer.
        errors: answers that are an error, by code.
        latencies_ms: from the intended send time to the answer's arrival, one a request answered.
        last: the newest answer with items.
    """

    sent: int = 0
    answered: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    last: Recommendation | None = None


class RequestStream:
    """Sends requests at a rate from one thread and collects the answers in another.

    Args:
        settings: where the bus is.
        rate: requests a second.
        next_user: whom to ask for next.
        deadline_ms: of every request.

    Attributes:
        tally: what it amounts to so far.
    """

    def __init__(
        self, settings: Settings, rate: float, next_user: Callable[[], str], deadline_ms: int = 60_000
    ) -> None:
        if not rate > 0:
            raise ValueError(f"rate must be positive, got {rate}")
        self.tally = AskingTally()
        self._rate = rate
        self._next_user = next_user
        self._deadline_ms = deadline_ms
        self._topic = settings.topic("requests")
        self._producer = make_producer(settings, linger_ms=0)
        self._consumer = make_consumer(settings)
        answers = settings.topic("recommendations")
        partitions = self._consumer.partitions_for_topic(answers) or set()
        self._tps = [TopicPartition(answers, partition) for partition in sorted(partitions)]
        self._due: dict[str, float] = {}
        self._stop_sending = threading.Event()
        self._stop_reading = threading.Event()
        self._failure: BaseException | None = None
        self._threads = (
            threading.Thread(target=self._guard, args=(self._send,), name="requests", daemon=True),
            threading.Thread(target=self._guard, args=(self._collect,), name="answers", daemon=True),
        )

    def start(self) -> None:
        """Begin to ask."""
        self._consumer.assign(self._tps)
        for tp, end in self._consumer.end_offsets(self._tps).items():
            self._consumer.seek(tp, end)
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise what ended one of the threads."""
        if self._failure is not None:
            raise self._failure

    def finish(self, timeout_s: float) -> AskingTally:
        """Stop asking, wait for the outstanding answers at most ``timeout_s``, and return the tally."""
        self._stop_sending.set()
        sender, reader = self._threads
        sender.join()
        self._producer.flush()
        deadline = time.monotonic() + timeout_s
        while self.tally.answered < self.tally.sent and time.monotonic() < deadline and self._failure is None:
            self._stop_reading.wait(0.01)
        self._stop_reading.set()
        reader.join()
        self._producer.close(timeout=5)
        self._consumer.close()
        self.check()
        return self.tally

    def _send(self) -> None:
        started = time.monotonic()
        while not self._stop_sending.is_set():
            due = started + self.tally.sent / self._rate
            if self._stop_sending.wait(max(0.0, due - time.monotonic())):
                return
            user_id, request_id = self._next_user(), uuid4().hex
            request = RecommendationRequest(request_id=request_id, user_id=user_id, deadline_ms=self._deadline_ms)
            self._due[request_id] = due
            self._producer.send(self._topic, key=user_id.encode(), value=encode(request))
            self.tally.sent += 1

    def _collect(self) -> None:
        while not self._stop_reading.is_set():
            polled = self._consumer.poll(timeout_ms=_POLL_MS)
            now = time.monotonic()
            for records in polled.values():
                for record in records:
                    self._take(record.value, now)

    def _take(self, value: Any, now: float) -> None:
        try:
            answer = decode_answer(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        due = self._due.pop(answer.request_id, None)
        if due is None:
            return
        self.tally.answered += 1
        self.tally.latencies_ms.append(1000 * (now - due))
        if answer.error is not None:
            self.tally.errors[answer.error.code] = self.tally.errors.get(answer.error.code, 0) + 1
        elif answer.items:
            self.tally.last = answer

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - handed to whoever checks
            self._failure = error
