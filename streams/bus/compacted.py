"""A whole compacted topic in memory, kept up to date by a thread: the catalogue and the active releases."""

import threading
from collections.abc import Callable
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError

from schemas.errors import StreamrecError
from streams.bus.clients import make_consumer
from streams.bus.ends import find_ends
from streams.bus.topics import require_topic
from streams.settings import Settings

log = structlog.get_logger(__name__)

FETCH_WAIT_MS = 250
"""Changes are rare: a broker that wakes no waiting fetch would otherwise be asked without pause."""

Record = Any
OnRecords = Callable[[list[Record]], None]


class CompactedReader:
    """Reads every partition of a topic from its start, without a group, and hands over what comes.

    Args:
        settings: where the broker is.
        admin: an admin client, used by :meth:`start` only.
        topic: name of the topic.
        on_records: called in the reader's thread with consumer records in partition order; first with all there is
            (perhaps nothing), in pieces, then with each change.
    """

    def __init__(self, settings: Settings, admin: Any, topic: str, on_records: OnRecords) -> None:
        self._topic = topic
        self._on_records = on_records
        self._caught_up = threading.Event()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._newest: dict[int, int] = {}
        partitions = require_topic(admin, topic).partitions
        self._tps = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._consumer = make_consumer(
            settings, auto_offset_reset="earliest", max_poll_records=5000, fetch_max_wait_ms=FETCH_WAIT_MS
        )
        self._thread = threading.Thread(target=self._run, name=f"reader of {topic}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def wait_until_caught_up(self, timeout_s: float) -> None:
        """Return once everything that was in the topic at the start has been handed over.

        Raises:
            StreamrecError: reading failed, or took longer than ``timeout_s``.
        """
        if not self._caught_up.wait(timeout_s):
            raise StreamrecError(f"topic {self._topic!r} was not read to its end within {timeout_s} s")
        self.check()

    def check(self) -> None:
        """Raise what ended the reader.

        Raises:
            StreamrecError: reading failed.
        """
        if self._failure is not None:
            raise StreamrecError(f"reading topic {self._topic!r} failed: {self._failure!r}") from self._failure

    def stop(self) -> None:
        """End the thread and the consumer."""
        self._stopping.set()
        if self._thread.ident is None:
            self._consumer.close()
        else:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        try:
            ends = find_ends(self._consumer, self._tps)
            self._consumer.seek_to_beginning(*self._tps)
            while not self._stopping.is_set():
                self._poll()
                if not self._caught_up.is_set() and all(self._consumer.position(tp) >= ends[tp] for tp in self._tps):
                    self._caught_up.set()
        except Exception as error:
            self._failure = error
            self._caught_up.set()
            log.exception("reader.failed", topic=self._topic)
        finally:
            self._consumer.close()

    def _poll(self) -> None:
        try:
            polled = self._consumer.poll(timeout_ms=200)
        except KafkaError as error:
            if not getattr(error, "retriable", False):
                raise
            log.warning("reader.retries", topic=self._topic, error=repr(error))
            self._stopping.wait(0.5)
            return
        records = [record for tp in sorted(polled) for record in polled[tp]]
        for record in records:
            if record.offset <= self._newest.get(record.partition, -1):
                raise StreamrecError(
                    f"partition {record.partition} went back from offset {self._newest[record.partition]} to "
                    f"{record.offset}: the topic was deleted and made again; start this process anew"
                )
            self._newest[record.partition] = record.offset
        if records:
            self._on_records(records)
