"""Whether the topics a scorer began with are still those the broker has."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import structlog
from kafka.errors import KafkaError

from schemas.errors import BusUnavailable, ConfigurationError
from services.scorer.state import StateSource
from streams.bus.topics import TopicInfo, describe_topics

log = structlog.get_logger(__name__)

CHECK_S = 10.0


class TopicWatch:
    """Asks the broker every ten seconds, in a thread of its own.

    Args:
        admin: an admin client, from :meth:`start` on used by this thread only.
        topics: as they were at the start; the first is that of the ratings.
        states: told when the ratings get more partitions.
    """

    def __init__(self, admin: Any, topics: Sequence[TopicInfo], states: StateSource) -> None:
        self._admin = admin
        self._topics = topics
        self._states = states
        self._failure: ConfigurationError | None = None
        self._looked_s = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="topic watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=2)

    def check(self) -> None:
        """Raise what was found.

        Raises:
            ConfigurationError: a topic is gone, or was made again.
        """
        if self._failure is not None:
            raise self._failure

    def look(self) -> None:
        """Compare the topics with what the broker has.

        Raises:
            ConfigurationError: a topic is gone, or was made again.
        """
        found = describe_topics(self._admin, [topic.name for topic in self._topics])
        for topic in self._topics:
            now = found.get(topic.name)
            if now is None:
                raise ConfigurationError(f"topic {topic.name!r} does not exist any more")
            if now.topic_id != topic.topic_id:
                raise ConfigurationError(
                    f"topic {topic.name!r} had id {topic.topic_id}, it was made again with id {now.topic_id}: "
                    "start the scorer anew"
                )
        partitions = found[self._topics[0].name].partitions
        if partitions > self._states.partitions:
            self._states.partitions = partitions
            log.info("ratings.partitions", partitions=partitions)

    @property
    def age_s(self) -> float:
        """How long ago the broker answered."""
        return time.monotonic() - self._looked_s

    def _run(self) -> None:
        while not self._stopping.wait(CHECK_S):
            try:
                self.look()
                self._looked_s = time.monotonic()
            except ConfigurationError as error:
                self._failure = error
                return
            except (BusUnavailable, KafkaError, OSError) as error:
                log.warning("topics.unchecked", error=repr(error))
