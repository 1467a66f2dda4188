"""A producer whose events are due at times of their own, however late those before them went out.

It wakes every few milliseconds and sends what is due, a batch a partition, as a producer that lingers does. What it
leaves behind: when each event was due, and where it lies in the log.
"""

import asyncio
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer

from benchmarks.ingest_sides.log import BATCH_BYTES, PARTITIONS, LoggedRecord, read_records
from benchmarks.ingest_sides.progress import say

LINGER_S = 0.005
LEAD_S = 0.2


class Sender:
    """Sends records, and remembers which of them went out together.

    Args:
        producer: a started producer.
        topic: name of the topic.
        partitions: its number of partitions.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._open: list[Any] = [None] * partitions
        self._members: list[list[int]] = [[] for _ in range(partitions)]
        self._sent: list[tuple[int, list[int], Any]] = []

    async def add(self, number: int, partition: int, record: LoggedRecord) -> None:
        """Put a record into the open batch of its partition; a full one goes out first."""
        batch = self._open[partition] or self._producer.create_batch()
        if batch.append(key=record.key, value=record.value, timestamp=None) is None:
            await self.flush(partition)
            batch = self._producer.create_batch()
            batch.append(key=record.key, value=record.value, timestamp=None)
        self._open[partition] = batch
        self._members[partition].append(number)

    async def flush(self, partition: int) -> None:
        """Send the open batch of a partition."""
        if self._open[partition] is not None:
            sent = await self._producer.send_batch(self._open[partition], self._topic, partition=partition)
            self._sent.append((partition, self._members[partition], sent))
            self._open[partition], self._members[partition] = None, []

    async def places(self, events: int) -> tuple[np.ndarray, np.ndarray]:
        """Return partition and offset of each event, once all are acknowledged."""
        partitions, offsets = np.empty(events, np.int64), np.empty(events, np.int64)
        for partition, members, sent in self._sent:
            first = (await sent).offset
            partitions[members] = partition
            offsets[members] = np.arange(first, first + len(members))
        return partitions, offsets


async def _produce(servers: str, topic: str, log: Path, rate: float, events: int, kept: Path) -> None:
    records = read_records(log, PARTITIONS)
    rows = itertools.zip_longest(*records)
    mixed = [(partition, record) for row in rows for partition, record in enumerate(row) if record is not None]
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        await producer.partitions_for(topic)  # or the first records would wait for it
        sender = Sender(producer, topic, len(records))
        began = time.monotonic() + LEAD_S
        say("side.began")
        sent = 0
        while sent < events:
            await asyncio.sleep(max(0.0, LINGER_S - (time.monotonic() - began) % LINGER_S))
            due = min(events, int((time.monotonic() - began) * rate))
            for number in range(sent, due):
                await sender.add(number, *mixed[number % len(mixed)])
            for partition in range(len(records)):
                await sender.flush(partition)
            sent = max(sent, due)
        partitions, offsets = await sender.places(events)
        np.savez(kept, due=began + np.arange(events) / rate, partition=partitions, offset=offsets)
        say("side.done", events=events)
    finally:
        await producer.stop()


def main(servers: str, topic: str, log: str, rate: str, events: str, kept: str) -> None:
    """Send ``events`` at ``rate`` a second."""
    asyncio.run(_produce(servers, topic, Path(log), float(rate), int(events), Path(kept)))


if __name__ == "__main__":
    main(*sys.argv[1:])
