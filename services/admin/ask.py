"""Ask for recommendations over the bus, as any client would: produce requests, read until their answers are there."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import msgspec
from kafka import TopicPartition
from kafka.errors import KafkaError

from schemas.codec import decode_answer, encode
from schemas.errors import ConfigurationError, StreamrecError
from schemas.events import Recommendation, RecommendationRequest
from streams.bus.clients import make_consumer, make_producer
from streams.settings import Settings

CLOSE_TIMEOUT_S = 5.0
_POLL_MS = 20


class Asker:
    """Sends requests and collects their answers, without a consumer group; a context manager.

    Args:
        settings: where the bus is, and the names of the topics.

    Raises:
        ConfigurationError: no broker answers, or a topic does not exist.
    """

    def __init__(self, settings: Settings) -> None:
        self._requests = settings.topic("requests")
        answers = settings.topic("recommendations")
        with ExitStack() as opened:
            self._consumer = make_consumer(settings)
            opened.callback(self._consumer.close)
            self._tps = _partitions_of(self._consumer, answers)
            self._consumer.assign(self._tps)
            _partitions_of(self._consumer, self._requests)
            self._producer = make_producer(settings, linger_ms=0)
            opened.callback(self._producer.close, timeout=CLOSE_TIMEOUT_S)
            self._opened = opened.pop_all()

    def ask(self, request: RecommendationRequest, timeout_s: float = 10.0) -> Recommendation:
        """Return the answer to one request, which may be an error.

        Raises:
            StreamrecError: no answer came in time, or the bus failed.
        """
        return self.ask_all([request], timeout_s)[request.request_id]

    def ask_all(self, requests: Sequence[RecommendationRequest], timeout_s: float = 10.0) -> dict[str, Recommendation]:
        """Return the first answer to each request, by request_id.

        Answers are read from where their topic ended before the first request was produced, or a little earlier:
        request ids tell them apart.

        Raises:
            StreamrecError: an answer did not come in time, or the bus failed.
        """
        deadline = time.monotonic() + timeout_s
        try:
            for tp, end in self._consumer.end_offsets(self._tps).items():
                self._consumer.seek(tp, end)
            futures = [
                self._producer.send(self._requests, key=request.user_id.encode(), value=encode(request))
                for request in requests
            ]
            self._producer.flush(timeout=timeout_s)
            for future in futures:
                future.get(timeout=max(0.0, deadline - time.monotonic()))
            return self._collect({request.request_id for request in requests}, deadline, timeout_s)
        except KafkaError as error:
            raise StreamrecError(f"asking over topic {self._requests!r} failed: {error!r}") from error

    def _collect(self, missing: set[str], deadline: float, timeout_s: float) -> dict[str, Recommendation]:
        found: dict[str, Recommendation] = {}
        while missing:
            left_ms = int(1000 * (deadline - time.monotonic()))
            if left_ms <= 0:
                raise StreamrecError(
                    f"no answer to {len(missing)} of {len(missing) + len(found)} requests within {timeout_s:g} s "
                    f"(request_id {min(missing)}): is a scorer running (`streamrec scorer`)?"
                )
            polled = self._consumer.poll(timeout_ms=min(_POLL_MS, left_ms))
            for record in (record for records in polled.values() for record in records):
                answer = _read_answer(record.value)
                if answer is not None and answer.request_id in missing:
                    missing.discard(answer.request_id)
                    found[answer.request_id] = answer
        return found

    def close(self) -> None:
        """Close both clients."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _partitions_of(consumer: Any, topic: str) -> list[TopicPartition]:
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        raise ConfigurationError(f"topic {topic!r} does not exist: run `streamrec topics create`")
    return [TopicPartition(topic, partition) for partition in sorted(partitions)]


def _read_answer(value: Any) -> Recommendation | None:
    """Return an answer; None for what others may have put on the topic."""
    try:
        return decode_answer(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
        return None
