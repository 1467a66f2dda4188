"""The scorer's inbox and outbox on confluent-kafka, whose threads are librdkafka's: the `scorer_client` `confluent`.

They do what :mod:`services.scorer.inbox` and :mod:`services.scorer.outbox` do. Consuming, producing and sums happen
beside Python instead of in it, so a request costs the scorer less and waits less (docs/latency.md).
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from kafka.errors import MessageSizeTooLargeError

from schemas.errors import ConfigurationError, StreamrecError
from services.scorer.inbox import COMMIT_EVERY_S, MAX_BATCH, MIN_POLL_INTERVAL_S
from services.scorer.intake import Place
from services.scorer.outbox import Outbox
from streams.settings import Settings

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
except ImportError as missing:
    raise ConfigurationError(
        "scorer_client confluent needs confluent-kafka: install streamrec[confluent], or set kafka-python"
    ) from missing

from streams.bus.librdkafka import common_arguments

log = structlog.get_logger(__name__)

PRODUCER_BLOCK_S = 10.0
"""How long a full queue may hold an answer before the scorer ends."""
_FULL_WAIT_S = 0.01
_CLOSE_POLL_S = 0.02
_REFUSALS = (
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - confluent-kafka names librdkafka's own errors so
)


@dataclass(slots=True, eq=False)
class Taken:
    """A record as the scorer reads it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class LibrdkafkaInbox:
    """Reads ``requests`` in the scorers' group, as :class:`services.scorer.ports.RequestSource` says.

    Args:
        settings: where the broker is, names and timeouts.
        now_s: the monotonic clock.
    """

    def __init__(self, settings: Settings, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._commit_from_s = float("-inf")
        self._topic = settings.topic("requests")
        self._revoked: set[int] = set()
        self._committed: dict[int, int] = {}
        self._is_committing = False
        self._is_held = False
        self._failure: object | None = None
        self.is_assigned = False
        self._is_member = False
        session_ms = int(settings.session_timeout_s * 1000)
        self._consumer = Consumer(
            common_arguments(settings)
            | {
                "group.id": settings.group_scorer,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": settings.fetch_wait_ms,
                "session.timeout.ms": session_ms,
                "heartbeat.interval.ms": session_ms // 4,
                "max.poll.interval.ms": max(
                    session_ms, int(1000 * max(MIN_POLL_INTERVAL_S, settings.rebalance_timeout_s))
                ),
                "on_commit": self._note_commit,
            }
        )
        self._consumer.subscribe(
            [self._topic], on_assign=self._note_assigned, on_revoke=self._note_revoked, on_lost=self._note_revoked
        )

    def poll(self, wait_s: float, most: int = MAX_BATCH, *, is_held: bool = False) -> list[Taken]:
        """Return records, partition by partition in order; none while held, which keeps the membership.

        Raises:
            StreamrecError: the broker refuses.
        """
        if self._failure is not None:
            raise StreamrecError(f"offsets cannot be committed: {self._failure}")
        self._hold(is_held=is_held)
        messages = self._consumer.consume(most, 0)
        if not messages and (message := self._consumer.poll(wait_s)) is not None:
            messages = [message, *self._consumer.consume(most - 1, 0)]
        records = [record for message in messages if (record := self._read(message)) is not None]
        records.sort(key=lambda record: record.partition)
        return records

    def take_revoked(self) -> set[int]:
        """Return the partitions revoked since the last call; some may be assigned again."""
        revoked, self._revoked = self._revoked, set()
        for partition in revoked:
            self._committed.pop(partition, None)
        return revoked

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Begin to commit next offsets unless a commit is under way or just was; what is left out now comes later."""
        changed = self._changed(offsets)
        if not changed or self._is_committing or self._now_s() < self._commit_from_s:
            return
        self._commit_from_s = self._now_s() + COMMIT_EVERY_S
        try:
            self._consumer.commit(offsets=changed, asynchronous=True)
        except KafkaException as error:
            self._note_outcome(error.args[0])
        else:
            self._is_committing = True

    def lag(self) -> dict[int, int | None]:
        """Return how many records of each assigned partition were not taken yet; None before a fetch told."""
        lags: dict[int, int | None] = {}
        for at in self._consumer.position(self._consumer.assignment()):
            known = self._consumer.get_watermark_offsets(at, cached=True)
            is_known = known is not None and known[1] >= 0 and at.offset >= 0
            lags[at.partition] = max(0, known[1] - at.offset) if is_known else None
        return lags

    def fault(self) -> str:
        """Return what keeps it from its partitions; empty when nothing does."""
        return "" if self._is_member else "the broker has put this member out of the scorers' group, or it rejoins"

    def close(self, offsets: Mapping[int, int], timeout_s: float) -> None:
        """Commit next offsets, wait for it, and leave the group; librdkafka's own calls know no limit of time."""
        deadline = time.monotonic() + timeout_s
        self._hold(is_held=True)
        self._serve_commit(deadline)
        self._commit_from_s = float("-inf")
        self.commit(offsets)
        self._serve_commit(deadline)
        if changed := self._changed(offsets):
            log.warning("requests.uncommitted", offsets={tp.partition: tp.offset for tp in changed})
        leaving = threading.Thread(target=self._consumer.close, name="leaving", daemon=True)
        leaving.start()
        leaving.join(max(_CLOSE_POLL_S, deadline - time.monotonic()))

    def _serve_commit(self, deadline: float) -> None:
        """Wait for the commit that is under way."""
        while self._is_committing and time.monotonic() < deadline:
            self._consumer.poll(_CLOSE_POLL_S)

    def _hold(self, *, is_held: bool) -> None:
        """Pause or resume what is assigned; pausing drops what was fetched ahead, which is fetched again."""
        if is_held == self._is_held:
            return
        self._is_held = is_held
        move = self._consumer.pause if is_held else self._consumer.resume
        move(self._consumer.assignment())

    def _read(self, message: Any) -> Taken | None:
        error = message.error()
        if error is None:
            return Taken(
                message.partition(),
                message.offset(),
                message.timestamp()[1],
                message.key(),
                message.value(),
                message.headers() or (),
            )
        if error.fatal() or error.code() in _REFUSALS:
            raise StreamrecError(f"topic {self._topic!r} cannot be read: {error}")
        log.warning("requests.retries", error=str(error))
        return None

    def _changed(self, offsets: Mapping[int, int]) -> list[Any]:
        return [
            TopicPartition(self._topic, partition, at)
            for partition, at in offsets.items()
            if self._committed.get(partition) != at
        ]

    def _note_assigned(self, consumer: Any, assigned: Sequence[Any]) -> None:
        self.is_assigned = self._is_member = True
        log.info("requests.assigned", partitions=sorted(tp.partition for tp in assigned))
        if self._is_held:
            consumer.assign(assigned)
            consumer.pause(assigned)

    def _note_revoked(self, _: Any, revoked: Sequence[Any]) -> None:
        self._is_member = False
        self._revoked |= {tp.partition for tp in revoked}

    def _note_commit(self, error: Any, partitions: Sequence[Any]) -> None:
        self._is_committing = False
        if error is None:
            self._committed |= {tp.partition: tp.offset for tp in partitions if tp.error is None}
            error = next((tp.error for tp in partitions if tp.error is not None), None)
        if error is not None:
            self._note_outcome(error)

    def _note_outcome(self, error: Any) -> None:
        if error.fatal() or error.code() in _REFUSALS:
            self._failure = error
        else:
            log.info("requests.uncommitted", error=str(error))


class LibrdkafkaOutbox(Outbox):
    """Sends by librdkafka; its callbacks come in :meth:`take_acknowledged` and :meth:`flush`."""

    def take_acknowledged(self) -> list[Place]:
        """Return the places whose answer or letter was acknowledged since the last call.

        Raises:
            StreamrecError: the broker refused one, or did not answer in the producer's time.
        """
        self._producer.poll(0)
        return super().take_acknowledged()

    def flush(self, timeout_s: float) -> None:
        """Wait until everything sent is acknowledged or has failed.

        Raises:
            StreamrecError: that took longer than ``timeout_s``.
        """
        if left := self._producer.flush(timeout_s):
            raise StreamrecError(f"{left} answers were not acknowledged within {timeout_s} s")

    def close(self, timeout_s: float) -> None:
        """End the producer."""
        self._producer.flush(timeout_s)

    def _send(
        self, place: Place, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]] | None
    ) -> None:
        def note(error: Any, _: Any) -> None:
            if error is None:
                self._acknowledged.append(place)
            else:
                self._failures.append(KafkaException(error))

        deadline = time.monotonic() + PRODUCER_BLOCK_S
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers, on_delivery=note)
            except BufferError as error:
                if time.monotonic() > deadline:
                    raise StreamrecError(f"topic {topic!r} takes no record: {error}") from error
                self._producer.poll(_FULL_WAIT_S)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise MessageSizeTooLargeError(str(error)) from error
                raise StreamrecError(f"topic {topic!r} takes no record: {error}") from error
            else:
                return
