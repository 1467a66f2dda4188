"""A worker without the runner around it, on a real store: batches are applied when a test says so."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np

from recommender.hashing import shard_of
from recommender.ledger import unpack
from recommender.ledger.batch import EmbeddedItems
from schemas.codec import RatingDecoder
from schemas.forget import ForgetEvent, encode_forget
from streams.bus.dead_letters import REDRIVE_HEADER, DeadLetter
from streams.settings import Settings
from streams.store.clients import make_async_client
from streams.store.keys import ShardKeys
from streams.store.writer import StateWriter
from streams.worker import apply as apply_module
from streams.worker.apply import BatchApplier
from streams.worker.claim import Claimer
from tests.streams.worker.memory import MemoryLog, MemoryRecord, rating

TOPIC_ID = "T"
NO_ITEMS = EmbeddedItems(bytes(8), np.empty(0, np.uint64), np.empty((0, 0)))


@dataclass(slots=True)
class Bench:
    """One worker's parts, and what is seen of the state."""

    settings: Settings
    client: Any
    writer: StateWriter
    applier: BatchApplier
    claimer: Claimer
    letters: list[DeadLetter] = field(default_factory=list)

    async def apply(self, log: MemoryLog, count: int = 2048) -> None:
        """Claim a partition and apply what is new in it, so many records at a time."""
        session = await self.claimer.claim(log)
        left = [record for record in log.records if record.offset >= session.position]
        for begin in range(0, len(left), count):
            await self.applier.apply(session, left[begin : begin + count])

    async def t(self, user: str = "u") -> int:
        value = await self.client.get(self._keys(shard_of(user, self.settings.shards)).ledger(user))
        return 0 if value is None else unpack(value).t

    async def position(self, partition: int = 0) -> int:
        return int((await self.client.get(self._keys(0).watermark(TOPIC_ID, partition))).split()[0])

    async def marks(self) -> set[bytes]:
        """Return the dead letters that count as applied."""
        shards = range(self.settings.shards)
        return set().union(*[await self.client.smembers(self._keys(shard).redriven) for shard in shards])

    async def wipe(self) -> None:
        await self.client.delete(*await self.client.keys(f"{{{self.settings.namespace}:*"))

    def _keys(self, shard: int) -> ShardKeys:
        return ShardKeys(self.settings.namespace, shard)


@asynccontextmanager
async def open_bench(settings: Settings, *, resumes: bool = False) -> AsyncIterator[Bench]:
    """Give a worker of its own on the state of these settings; it does not wait long for the store."""
    client = make_async_client(settings)
    writer = StateWriter(
        client,
        settings.namespace,
        settings.shards,
        settings.rating_scale,
        cache_bytes=settings.ledger_cache_bytes,
    )
    letters: list[DeadLetter] = []

    async def send(sent: Sequence[DeadLetter]) -> None:
        letters.extend(sent)

    async def topic_id() -> str:
        return TOPIC_ID

    applier = BatchApplier(writer, RatingDecoder(0.5, 5), send, lambda: NO_ITEMS, len)
    claimer = Claimer(writer, "ratings", topic_id, resumes=resumes)
    try:
        with patch.object(apply_module, "STORE_RETRY_S", 0.001):
            yield Bench(settings, client, writer, applier, claimer, letters)
    finally:
        await client.aclose()


def log_of(*records: MemoryRecord, partition: int = 0) -> MemoryLog:
    log = MemoryLog(partition=partition)
    log.add(*records)
    return log


def redriven(offset: int, name: str = "T/0/1", **values: Any) -> MemoryRecord:
    """Return a rating that was the dead letter of this name."""
    record = rating(offset, **values)
    record.headers = (("other", b"x"), (REDRIVE_HEADER, name.encode()))
    return record


def forget(offset: int, user: str = "u", **cut: int) -> MemoryRecord:
    """Return a forget event; ``p1=7`` says that partition 1 ended at 7."""
    value = encode_forget(ForgetEvent(user_id=user, cut={int(p[1:]): at for p, at in cut.items()}))
    return MemoryRecord(offset, value, user.encode())
