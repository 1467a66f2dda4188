"""Short visits to the bus: a client that is closed again, and records that are all acknowledged."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from schemas.errors import StreamrecError
from streams.bus.clients import make_admin, make_consumer, make_producer
from streams.bus.ends import find_ends
from streams.bus.topics import TopicInfo
from streams.settings import Settings

Record = tuple[bytes, bytes | None]
"""Key and value."""

OnProgress = Callable[[int], None]
"""Called with how many records were acknowledged so far."""

ACKNOWLEDGE_TIMEOUT_S = 60.0
_PROGRESS_EVERY = 500


@contextmanager
def open_admin(settings: Settings) -> Iterator[Any]:
    """Give an admin client; what the broker refuses is a sentence, not a traceback.

    Raises:
        ConfigurationError: no broker answers.
        StreamrecError: the broker refused a call.
    """
    admin = make_admin(settings)
    try:
        yield admin
    except KafkaError as error:
        raise StreamrecError(f"Kafka at {settings.bootstrap_servers} refused: {error!r}") from error
    finally:
        admin.close()


def produce_all(
    settings: Settings, topic: str, records: Iterable[Record], on_progress: OnProgress | None = None
) -> list[Any]:
    """Write records and return the acknowledgement of each, with topic, partition and offset.

    Raises:
        ConfigurationError: no broker answers.
        StreamrecError: a record was not acknowledged; those before it may have been written.
    """
    producer = make_producer(settings)
    try:
        futures = [producer.send(topic, key=key, value=value) for key, value in records]
        acknowledged = []
        for future in futures:
            acknowledged.append(future.get(timeout=ACKNOWLEDGE_TIMEOUT_S))
            if on_progress is not None and (
                len(acknowledged) % _PROGRESS_EVERY == 0 or len(acknowledged) == len(futures)
            ):
                on_progress(len(acknowledged))
    except KafkaError as error:
        raise StreamrecError(
            f"topic {topic!r} at {settings.bootstrap_servers} did not take a record: {error!r}"
        ) from error
    finally:
        producer.close(timeout=ACKNOWLEDGE_TIMEOUT_S)
    return acknowledged


def log_ends(settings: Settings, topic: TopicInfo) -> dict[int, int]:
    """Return the end offset of every partition of a topic.

    Raises:
        ConfigurationError: no broker answers.
        StreamrecError: the broker refused.
    """
    consumer = make_consumer(settings)
    try:
        ends = find_ends(consumer, [TopicPartition(topic.name, partition) for partition in range(topic.partitions)])
    except KafkaError as error:
        raise StreamrecError(f"the ends of topic {topic.name!r} cannot be read: {error!r}") from error
    finally:
        consumer.close()
    return {tp.partition: end for tp, end in ends.items()}
