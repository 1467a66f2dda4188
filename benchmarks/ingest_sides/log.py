"""The log of ratings that every side reads: generated once, kept as a file, and put on a topic."""

import asyncio
import pickle
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from schemas.codec import encode
from schemas.events import Item, RatingEvent
from services.lab.synthetic import Sizes, generate

PARTITIONS = 4
BATCH_BYTES = 256 * 1024
SIZES = Sizes(users=6_040, items=3_706)
"""People and films of MovieLens 1M."""


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """A record as the worker's consumer would give it."""

    offset: int
    value: bytes
    key: bytes
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def make_log(path: Path, ratings: int, seed: int = 4) -> list[Item]:
    """Write so many ratings to a file and return the films."""
    items, frame = generate(seed, Sizes(users=SIZES.users, items=SIZES.items, ratings=ratings))
    frame.to_parquet(path)
    return items


def read_log(path: Path, events: int | None = None) -> pd.DataFrame:
    """Return the first ``events`` ratings of a file, all when None."""
    return pd.read_parquet(path)[:events]


def read_records(path: Path, partitions: int, events: int | None = None) -> list[list[LoggedRecord]]:
    """Return the records of each partition; users are spread as Java's producer spreads them."""
    records: list[list[LoggedRecord]] = [[] for _ in range(partitions)]
    for user_id, item_id, rating, ts_ms in read_log(path, events).itertuples(index=False):
        value = encode(RatingEvent(user_id=user_id, item_id=item_id, rating=rating, ts_ms=ts_ms))
        key = user_id.encode()
        own = records[partition_of(key, partitions)]
        own.append(LoggedRecord(len(own), value, key))
    return records


def keep_records(path: Path, records: list[list[LoggedRecord]]) -> None:
    """Write the records of each partition to a file, which is read sooner than they are made."""
    path.write_bytes(pickle.dumps([[(each.value, each.key) for each in own] for own in records]))


def load_records(path: Path) -> list[list[LoggedRecord]]:
    """Return what :func:`keep_records` wrote."""
    kept = pickle.loads(path.read_bytes())
    return [[LoggedRecord(offset, *each) for offset, each in enumerate(own)] for own in kept]


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that Java's producer puts a key in."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def fill_topic(servers: str, topic: str, records: list[list[LoggedRecord]]) -> None:
    """Produce records in the order of each partition, partitions in turn, and wait for the acknowledgements."""
    asyncio.run(_fill(servers, topic, records))


async def _fill(servers: str, topic: str, records: list[list[LoggedRecord]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        await asyncio.gather(*(_fill_partition(producer, topic, *each) for each in enumerate(records)))
    finally:
        await producer.stop()


async def _fill_partition(producer: AIOKafkaProducer, topic: str, partition: int, records: list[LoggedRecord]) -> None:
    batch = producer.create_batch()
    for record in records:
        if batch.append(key=record.key, value=record.value, timestamp=None) is None:
            await (await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=record.key, value=record.value, timestamp=None)
    await (await producer.send_batch(batch, topic, partition=partition))
