"""A topic read from start to end, without a group: whoever looks leaves no trace."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from schemas.errors import ConfigurationError, StreamrecError
from streams.bus.clients import make_consumer
from streams.bus.ends import find_ends
from streams.settings import Settings

SILENCE_S = 30.0
"""A broker that gives no record for so long, before the end of the log, has failed."""
_POLL_MS = 200
_MAX_POLL_RECORDS = 5000


@dataclass(frozen=True, slots=True)
class Log:
    """A topic between its start and its end, both as they were when it was opened.

    Attributes:
        topic: its name.
        starts: first offset there is, by partition.
        ends: offset after the last record, by partition.
    """

    topic: str
    starts: dict[int, int]
    ends: dict[int, int]
    _consumer: Any

    @property
    def truncated(self) -> dict[int, int]:
        """The partitions whose first records are gone, and how many those are."""
        return {partition: start for partition, start in self.starts.items() if start > 0}

    def read(self, starts: Mapping[int, int] | None = None, ends: Mapping[int, int] | None = None) -> Iterator[Any]:
        """Yield the consumer's records, those of one partition in order.

        Args:
            starts: where to begin, by partition; the log's own starts for those left out.
            ends: where to stop, likewise.

        Raises:
            StreamrecError: the broker refused, or stopped to answer.
        """
        begin = {p: max(start, (starts or {}).get(p, start)) for p, start in self.starts.items()}
        stop = {p: min(end, (ends or {}).get(p, end)) for p, end in self.ends.items()}
        left = {p for p in begin if begin[p] < stop[p]}
        tps = [TopicPartition(self.topic, partition) for partition in sorted(left)]
        self._consumer.assign(tps)
        for tp in tps:
            self._consumer.seek(tp, begin[tp.partition])
        heard = time.monotonic()
        while left:
            polled = self._poll()
            for tp, records in polled.items():
                yield from (record for record in records if record.offset < stop[tp.partition])
            done = {tp.partition for tp in tps if self._consumer.position(tp) >= stop[tp.partition]}
            if polled or left & done:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_S:
                raise StreamrecError(f"topic {self.topic!r} gave no record for {SILENCE_S:g} s before its end")
            left -= done

    def _poll(self) -> Any:
        try:
            return self._consumer.poll(timeout_ms=_POLL_MS)
        except KafkaError as error:
            raise StreamrecError(f"topic {self.topic!r} cannot be read: {error!r}") from error


@contextmanager
def open_log(settings: Settings, topic: str) -> Iterator[Log]:
    """Give a topic to read, any topic of the broker.

    Raises:
        ConfigurationError: no broker answers, or the topic does not exist.
        StreamrecError: the broker refused.
    """
    consumer = make_consumer(settings, max_poll_records=_MAX_POLL_RECORDS)
    try:
        # Asking for a topic's partitions by its name would make it, on brokers that make topics for who names them.
        partitions = consumer.partitions_for_topic(topic) if topic in consumer.topics() else None
        if not partitions:
            raise ConfigurationError(f"topic {topic!r} does not exist")
        tps = [TopicPartition(topic, partition) for partition in sorted(partitions)]
        starts = {tp.partition: start for tp, start in consumer.beginning_offsets(tps).items()}
        ends = {tp.partition: end for tp, end in find_ends(consumer, tps).items()}
        yield Log(topic, starts, ends, consumer)
    except KafkaError as error:
        raise StreamrecError(f"topic {topic!r} cannot be read: {error!r}") from error
    finally:
        consumer.close()
