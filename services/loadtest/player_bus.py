"""The clients of a play: ratings and requests go out, answers come in, and the store says what was applied."""

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
from kafka import TopicPartition
from kafka.errors import KafkaError

from schemas.codec import decode_answer
from schemas.errors import ConfigurationError, StreamrecError
from schemas.events import Recommendation
from services.loadtest.logical_order import PlayedRating
from streams.bus.clients import make_admin, make_consumer, make_producer
from streams.bus.ends import find_ends
from streams.bus.topics import require_topic
from streams.settings import Settings
from streams.store.clients import make_client
from streams.store.reader import StateReader

APPLY_TIMEOUT_S = 60.0
USERS_A_READ = 500
_POLL_MS = 20
_PAUSE_S = 0.002
_CLOSE_TIMEOUT_S = 10.0


class PlayerBus:
    """Talks to a running system as any client would; only what was applied is read from the store.

    Args:
        settings: of the system.
        opened: closes the clients.

    Raises:
        ConfigurationError: no broker answers, or a topic does not exist.
    """

    def __init__(self, settings: Settings, opened: ExitStack) -> None:
        admin = make_admin(settings)
        opened.callback(admin.close)
        self._ratings = require_topic(admin, settings.topic("ratings"))
        self._requests = require_topic(admin, settings.topic("requests"))
        answers = require_topic(admin, settings.topic("recommendations"))
        self._producer = make_producer(settings, linger_ms=1)
        opened.callback(self._producer.close, timeout=_CLOSE_TIMEOUT_S)
        self._consumer = make_consumer(settings)
        opened.callback(self._consumer.close)
        store = make_client(settings)
        opened.callback(store.close)
        topic = self._ratings
        self._reader = StateReader(store, settings.namespace, settings.shards, topic.topic_id, topic.partitions)
        self._sent: list[Any] = []
        self._ends: dict[int, int] = {}
        self._failures: list[BaseException] = []
        tps = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
        self._log_holds = sum(find_ends(self._consumer, tps).values())
        tps = [TopicPartition(answers.name, partition) for partition in range(answers.partitions)]
        for tp, end in find_ends(self._consumer, tps).items():
            self._consumer.seek(tp, end)

    def refuse_state(self, user_ids: Collection[str]) -> None:
        """Refuse a system that is not empty: a record is of one that began so.

        Raises:
            ConfigurationError: naming what there is.
            StoreUnavailable: the store did not answer.
        """
        if self._log_holds:
            raise ConfigurationError(
                f"topic {self._ratings.name!r} holds {self._log_holds} records: a record is played again on an empty "
                "log and state, as --embedded makes them"
            )
        users = sorted(user_ids)
        for first in range(0, len(users), USERS_A_READ):
            ledgers = self._reader.read(users[first : first + USERS_A_READ]).ledgers
            for user_id, ledger in ledgers.items():
                if ledger is not None:
                    raise ConfigurationError(f"user {user_id!r} has {ledger.t} ratings already: play on an empty state")

    def rate(self, rating: PlayedRating) -> None:
        """Send a rating under its user's key; a bad one before all others goes to the partition it lay in."""
        where = (
            {"key": rating.key.encode()} if rating.key else {"partition": rating.partition % self._ratings.partitions}
        )
        self._send(self._ratings.name, rating.value, **where)

    def request(self, user_id: str, value: bytes) -> None:
        """Send a request."""
        self._send(self._requests.name, value, key=user_id.encode())

    def poll(self) -> Iterator[Recommendation]:
        """Yield the answers of a moment; what is none is passed over.

        Raises:
            StreamrecError: the bus failed, or did not take a record.
        """
        self._check()
        try:
            polled = self._consumer.poll(timeout_ms=_POLL_MS)
        except KafkaError as error:
            raise StreamrecError(f"reading the answers failed: {error!r}") from error
        for record in (record for records in polled.values() for record in records):
            try:
                yield decode_answer(record.value)
            except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
                continue

    def wait_until_applied(self, timeout_s: float = APPLY_TIMEOUT_S) -> None:
        """Return once every rating sent is behind the watermarks of every shard.

        Raises:
            StreamrecError: the bus did not take a record, or it took too long.
            StoreUnavailable: the store did not answer.
        """
        self._note_acknowledged()
        deadline = time.monotonic() + timeout_s
        while True:
            views = self._reader.read([], all_shards=True).shards.values()
            missing = [p for view in views for p, end in self._ends.items() if view.watermarks.get(p, 0) < end]
            if not missing:
                return
            if time.monotonic() > deadline:
                end = self._ends[missing[0]]
                raise StreamrecError(
                    f"partition {missing[0]} of {self._ratings.name!r} was not applied to offset {end} within "
                    f"{timeout_s:g} s: is a worker running (`streamrec worker`)?"
                )
            time.sleep(_PAUSE_S)

    def _note_acknowledged(self) -> None:
        """Wait for the broker, and note the offset after the newest rating of each partition."""
        self._producer.flush()
        self._check()
        for future in self._sent:
            place = future.get(timeout=_CLOSE_TIMEOUT_S)
            if place.topic == self._ratings.name:
                self._ends[place.partition] = max(self._ends.get(place.partition, 0), place.offset + 1)
        self._sent = []

    def _send(self, topic: str, value: bytes, **where: Any) -> None:
        future = self._producer.send(topic, value=value, **where)
        future.add_errback(self._failures.append)
        self._sent.append(future)

    def _check(self) -> None:
        if self._failures:
            raise StreamrecError(f"the bus did not take a record: {self._failures[0]!r}") from self._failures[0]
