"""The scorer's hot path without scoring: take a request, produce an answer of 2 KB, go on when it is acknowledged.

What each client does is what a scorer would: poll for what is there, up to 256, produce an answer for each under the
request's key, commit what is acknowledged without waiting for it.
"""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.ingest_sides.progress import Progress

MOST = 256
ANSWER = b"x" * 2_000
FETCH_WAIT_MS = 20
SESSION_MS = 6_000


def run_kafka_python(servers: str, requests: str, answers: str, group: str, progress: Progress) -> None:
    """Run on kafka-python, the client the scorer has."""
    import crc32c  # noqa: F401, PLC0415 - sums in C
    from kafka import KafkaConsumer, KafkaProducer  # noqa: PLC0415 - one client a process

    done = _Counter(progress)
    consumer = KafkaConsumer(
        requests,
        bootstrap_servers=servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_poll_records=MOST,
        session_timeout_ms=SESSION_MS,
    )
    producer = KafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=0, batch_size=256 * 1024)
    while not progress.is_over:
        polled = consumer.poll(timeout_ms=20, max_records=MOST)
        for records in polled.values():
            for record in records:
                producer.send(answers, key=record.key, value=ANSWER).add_callback(done.add)
        if polled:
            consumer.commit_async()
        done.report()


async def run_aiokafka(servers: str, requests: str, answers: str, group: str, progress: Progress) -> None:
    """Run on aiokafka, the worker's client."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # noqa: PLC0415 - one client a process

    done = _Counter(progress)
    consumer = AIOKafkaConsumer(
        requests,
        bootstrap_servers=servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=SESSION_MS,
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=0, max_batch_size=256 * 1024)
    await consumer.start()
    await producer.start()
    while not progress.is_over:
        polled = await consumer.getmany(timeout_ms=20, max_records=MOST)
        for records in polled.values():
            for record in records:
                sent = await producer.send(answers, key=record.key, value=ANSWER)
                sent.add_done_callback(done.add)
        if polled:
            await consumer.commit()
        done.report()


def run_confluent(servers: str, requests: str, answers: str, group: str, progress: Progress) -> None:
    """Run on confluent-kafka, librdkafka's threads beside ours."""
    from confluent_kafka import Consumer, Producer  # noqa: PLC0415 - one client a process

    done = _Counter(progress)
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": FETCH_WAIT_MS,
            "session.timeout.ms": SESSION_MS,
        }
    )
    consumer.subscribe([requests])
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "acks": "all",
            "linger.ms": 0,
            "batch.size": 256 * 1024,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    while not progress.is_over:
        taken = consumer.consume(MOST, timeout=0.02) if not done.count else _drain(consumer)
        for message in taken:
            producer.produce(answers, key=message.key(), value=ANSWER, on_delivery=done.add)
        producer.poll(0)
        if taken:
            consumer.commit(asynchronous=True)
        done.report()
    producer.flush()


def _drain(consumer: Any) -> Sequence[Any]:
    """Return what is there: with a time to wait, `consume` waits for the whole batch."""
    taken = consumer.consume(MOST, timeout=0.0)
    if taken:
        return taken
    message = consumer.poll(0.02)
    return [] if message is None else [message]


class _Counter:
    """Counts acknowledgements, which come from any thread, and tells them in the loop's own."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._told = 0
        self.count = 0

    def add(self, *_: object) -> None:
        """Count one."""
        with self._lock:
            self.count += 1

    def report(self) -> None:
        """Tell what was counted since the last call."""
        count = self.count
        if count > self._told:
            self._progress.add(count - self._told)
            self._told = count


CLIENTS: dict[str, Callable[..., Any]] = {
    "kafka-python": run_kafka_python,
    "aiokafka": lambda *arguments: asyncio.run(run_aiokafka(*arguments)),
    "confluent-kafka": run_confluent,
}


def main(client: str, servers: str, requests: str, answers: str, group: str, messages: str) -> None:
    """Answer so many requests by a client, say when the first and the last were acknowledged, and wait to be ended."""
    CLIENTS[client](servers, requests, answers, group, Progress(int(messages)))
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
