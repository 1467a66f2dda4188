"""Where requests come from: a group consumer that commits only what it is told to, without waiting."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import structlog
from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from schemas.errors import StreamrecError
from services.scorer.intake import RequestRecord
from streams.bus.clients import make_consumer
from streams.settings import Settings

log = structlog.get_logger(__name__)

MAX_BATCH = 256
MIN_POLL_INTERVAL_S = 30.0
"""How long a step may take with the store slow and many requests waiting, before the group puts the member out."""
COMMIT_EVERY_S = 0.05
"""Commits and fetches take turns in the consumer's thread; a crash repeats the answers of so long."""
REJOIN_WAIT_S = 0.1
"""The least time of a poll that rejoins: kafka-python drops the outcome of a join that comes between two polls."""
_LOST_MEMBERSHIP = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


class Assignments(ConsumerRebalanceListener):
    """Notes what was assigned and revoked; the consumer's own thread calls it, so it only notes.

    Args:
        give_up: drops the positions of partitions.
    """

    def __init__(self, give_up: Callable[[set[TopicPartition]], None]) -> None:
        self.is_assigned = False
        self._give_up = give_up
        self._revoked: deque[int] = deque()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Note partitions that went, perhaps only to come back."""
        gone = set(revoked)
        self._revoked.extend(tp.partition for tp in gone)
        self._give_up(gone)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note that the group has met."""
        self.is_assigned = True
        log.info("requests.assigned", partitions=sorted(tp.partition for tp in assigned))

    def take_revoked(self) -> set[int]:
        """Return the partitions revoked since the last call."""
        taken = set()
        while self._revoked:
            taken.add(self._revoked.popleft())
        return taken


class Inbox:
    """Reads ``requests`` in the scorers' group, as :class:`services.scorer.ports.RequestSource` says.

    Args:
        settings: where the broker is, names and timeouts.
        now_s: the monotonic clock.
    """

    def __init__(self, settings: Settings, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._commit_from_s = float("-inf")
        self._topic = settings.topic("requests")
        self._assignments = Assignments(self._give_up)
        self._committed: dict[int, int] = {}
        self._is_committing = False
        self._failure: BaseException | None = None
        self._consumer = make_consumer(
            settings,
            group_id=settings.group_scorer,
            auto_offset_reset="earliest",
            max_poll_records=MAX_BATCH,
            session_timeout_ms=int(settings.session_timeout_s * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_s * 1000 / 4),
            max_poll_interval_ms=int(1000 * max(MIN_POLL_INTERVAL_S, settings.rebalance_timeout_s)),
        )
        self._consumer.subscribe([self._topic], listener=self._assignments)
        self._learn_partitions()

    @property
    def is_assigned(self) -> bool:
        """Whether the group has met once; this member may have got no partition."""
        return self._assignments.is_assigned

    def poll(self, wait_s: float, most: int = MAX_BATCH, *, is_held: bool = False) -> list[RequestRecord]:
        """Return records, partition by partition in order; none while held, which keeps the membership.

        Raises:
            StreamrecError: the broker refuses.
        """
        if self._failure is not None:
            raise StreamrecError(f"offsets cannot be committed: {self._failure!r}") from self._failure
        if self._keep_rejoining():
            wait_s = max(wait_s, REJOIN_WAIT_S)
        try:
            if is_held:
                self._consumer.pause(*self._consumer.assignment())
            elif self._consumer.paused():
                self._consumer.resume(*self._consumer.paused())
            polled = self._consumer.poll(timeout_ms=int(wait_s * 1000), max_records=most)
        except KafkaError as error:
            if not getattr(error, "retriable", False):
                raise StreamrecError(f"topic {self._topic!r} cannot be read: {error!r}") from error
            log.warning("requests.retries", error=repr(error))
            return []
        return [record for tp in sorted(polled) for record in polled[tp]]

    def take_revoked(self) -> set[int]:
        """Return the partitions revoked since the last call; some may be assigned again."""
        revoked = self._assignments.take_revoked()
        for partition in revoked:
            self._committed.pop(partition, None)
        return revoked

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Begin to commit next offsets unless a commit is under way or just was; what is left out now comes later."""
        changed = {partition: at for partition, at in offsets.items() if self._committed.get(partition) != at}
        if not changed or self._is_committing or self._now_s() < self._commit_from_s:
            return
        self._is_committing = True
        self._commit_from_s = self._now_s() + COMMIT_EVERY_S
        self._consumer.commit_async(self._as_kafka(changed), self._note_commit)

    def lag(self) -> dict[int, int | None]:
        """Return how many records of each assigned partition were not taken yet; None before a fetch told."""
        lags: dict[int, int | None] = {}
        for tp, state in self._consumer._subscription.assignment.items():  # noqa: SLF001 - position() would ask the broker
            is_known = state.highwater is not None and state.position is not None
            lags[tp.partition] = max(0, state.highwater - state.position.offset) if is_known else None
        return lags

    def fault(self) -> str:
        """Return what keeps it from its partitions; empty when nothing does."""
        coordinator = self._consumer._coordinator  # noqa: SLF001 - nothing public tells
        if coordinator.coordinator_id is None:  # asking by its method would drop one that only reconnects
            return "the broker that coordinates the scorers' group does not answer"
        if coordinator.rebalance_in_progress() or coordinator.need_rejoin():
            return "the scorers' group is rebalancing"
        return ""

    def close(self, offsets: Mapping[int, int], timeout_s: float) -> None:
        """Commit next offsets, wait for it, and leave the group."""
        changed = {partition: at for partition, at in offsets.items() if self._committed.get(partition) != at}
        try:
            if changed:
                self._consumer.commit(self._as_kafka(changed), timeout_ms=int(timeout_s * 1000))
        except KafkaError as error:
            log.warning("requests.uncommitted", offsets=changed, error=repr(error))
        finally:
            self._consumer.close(timeout_ms=int(timeout_s * 1000))

    def _learn_partitions(self) -> None:
        """Know the topic before the group meets: a leader that does not assigns nothing at first."""
        try:
            self._consumer.partitions_for_topic(self._topic)
        except KafkaError as error:
            log.warning("requests.retries", error=repr(error))

    def _give_up(self, revoked: set[TopicPartition]) -> None:
        """Drop the positions of revoked partitions, so that one which comes back begins at its committed offset.

        kafka-python 3.0.12 keeps the position of a partition that comes back to the same member. What was taken of it
        and not answered would be passed over, and the next commit would say it was answered. The Java client drops it.
        """
        subscription = self._consumer._subscription  # noqa: SLF001 - nothing public gives up a part of an assignment
        subscription.assign_from_subscribed([tp for tp in subscription.assigned_partitions() if tp not in revoked])

    def _keep_rejoining(self) -> bool:
        """Have a rejoin seen through to its end, and return whether there is one.

        kafka-python 3.0.12 notes the need of a rejoin after a change of metadata nowhere. If a poll ends between the
        answers to JoinGroup and SyncGroup of such a rejoin, no later one takes up the assignment, and the broker puts
        the silent member out. The Java client notes it since KAFKA-9815.
        """
        coordinator = self._consumer._coordinator  # noqa: SLF001 - nothing public asks for a rejoin
        is_rejoining = bool(coordinator.rebalance_in_progress() or coordinator.need_rejoin())
        if is_rejoining:
            coordinator.request_rejoin()
        return is_rejoining

    def _as_kafka(self, offsets: Mapping[int, int]) -> dict[TopicPartition, OffsetAndMetadata]:
        return {
            TopicPartition(self._topic, partition): OffsetAndMetadata(at, "", -1) for partition, at in offsets.items()
        }

    def _note_commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], outcome: object) -> None:
        self._is_committing = False
        if not isinstance(outcome, Exception):
            self._committed |= {tp.partition: at.offset for tp, at in offsets.items()}
        elif isinstance(outcome, _LOST_MEMBERSHIP) or getattr(outcome, "retriable", False):
            log.info("requests.uncommitted", error=repr(outcome))
        else:
            self._failure = outcome
