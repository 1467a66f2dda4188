"""Ledgers in a store, and a worker's hand that writes to them by the way of the product."""

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recommender.arrays import Hashes
from recommender.ledger import ENTRY, EVENT, LastEvent, Ledger, pack
from recommender.ledger.batch import EmbeddedItems, EventBatch
from recommender.ledger.layout import Records
from schemas.codec import RatingDecoder
from services.runtime.engines import Engine, start_store
from streams.settings import Settings
from streams.store.clients import make_async_client, make_client
from streams.store.keys import ShardKeys
from streams.store.writer import StateWriter
from streams.worker.apply import BatchApplier
from streams.worker.batches import ShardPart
from streams.worker.idle import USERS_A_STEP, IdleFolder
from streams.worker.session import Session

DIM = 16
CATALOGUE = 20_000
TOPIC_ID = "benchmark"
USERS_A_BATCH = 512


def start_fresh_store(directory: Path, *, appendonly: bool) -> Engine:
    """Start a store of its own, perhaps with an append-only file synced every second."""
    directory.mkdir(parents=True, exist_ok=True)
    return start_store(directory, appendonly=appendonly)


def draw_items(seed: int = 1) -> EmbeddedItems:
    """Return a catalogue of :data:`CATALOGUE` items with vectors, shape [N, D]."""
    draws = np.random.default_rng(seed)
    hashes = np.sort(draws.integers(2**63, size=CATALOGUE, dtype=np.uint64))
    return EmbeddedItems(b"embedded", hashes, draws.normal(size=(CATALOGUE, DIM)))


def make_ledger(items: EmbeddedItems, seen: int, tail: int, draws: np.random.Generator) -> bytes:
    """Return the ledger of somebody who rated ``seen`` items, and some of them again in the ``tail`` newest events."""
    base, events = np.zeros(seen, ENTRY), np.zeros(tail, EVENT)
    base["item"] = np.sort(draws.choice(items.hashes, seen, replace=False))
    base["count"], base["last_t"], base["rating_sum"] = 1, np.arange(seen), 30_000
    events["item"], events["rating"] = draws.choice(base["item"], tail), 40_000
    mean = draws.normal(size=items.dim)
    return pack(Ledger(1, seen + tail, LastEvent(1, 0, 0), items.embedding_id, 0, mean, base, events))


class Hand:
    """Applies ready-made events to a state of its own: read, fold and guarded commit as the worker does them.

    Args:
        url: of the store.
        namespace: of the state.
        items: the catalogue.
        loop: where its calls run.
        shards: that the state has; events go to the first one.
    """

    def __init__(
        self, url: str, namespace: str, items: EmbeddedItems, loop: asyncio.AbstractEventLoop, shards: int = 1
    ) -> None:
        self.settings = Settings(redis_url=url, namespace=namespace, store_timeout_s=60)
        self.keys = ShardKeys(namespace, 0)
        self._loop = loop
        self._client = make_async_client(self.settings)
        self._writer = writer = StateWriter(self._client, namespace, shards, self.settings.rating_scale)
        self._items = items
        self.folder = IdleFolder(writer, 0, itertools.count(1.0).__next__)
        self.applier = BatchApplier(writer, RatingDecoder(0.5, 5), _no_letters, lambda: items, _count_none)
        claim = loop.run_until_complete(writer.assign(0, TOPIC_ID, 0, "benchmark", 0))
        assert claim is not None
        self.session = Session.begin("ratings", TOPIC_ID, 0, [claim])

    def store_ledgers(self, ledgers: dict[str, bytes]) -> None:
        """Write ledgers as they are."""
        client: Any = make_client(self.settings)
        with client.pipeline(transaction=False) as pipe:
            for user_id, value in ledgers.items():
                pipe.set(self.keys.ledger(user_id), value)
                if len(pipe) >= 100:
                    pipe.execute()
            pipe.execute()
        client.close()

    def apply(self, user_ids: Sequence[str], items: Hashes) -> None:
        """Apply events of at most 512 users, and return when they are committed; ``items`` has the shape [E, users]."""
        self._loop.run_until_complete(self._apply(user_ids, items))

    def change_statistics(self, shard: int, partition: int, deltas: Records) -> None:
        """Change item statistics by another partition or in another shard than the first, and nothing else there."""
        claim = self._loop.run_until_complete(self._writer.assign(shard, TOPIC_ID, partition, "benchmark", 0))
        assert claim is not None
        self._loop.run_until_complete(self._writer.commit(claim[0], 0, 1, deltas=deltas))

    def fold_idle(self, users: int) -> None:
        """Make the ledgers of idle users smaller, in as many steps as it takes to look at so many users once."""
        steps = 2 * users // USERS_A_STEP + 2
        for _ in range(steps):
            self._loop.run_until_complete(self.folder.step(self.session))

    async def _apply(self, user_ids: Sequence[str], items: Hashes) -> None:
        start = self.session.position
        end = start + items.size
        records = np.zeros(items.size, EVENT)
        records["item"], records["rating"] = items.ravel(), 35_000
        users = np.tile(np.arange(len(user_ids)), len(items))
        batch = EventBatch(users, records, np.arange(start, end, dtype=np.uint64))
        part = ShardPart(list(user_ids), batch)
        await self.applier._commit_part(self.session, 0, end, part, self._items)  # noqa: SLF001 - without the decoding
        self.session.position = end

    def close(self) -> None:
        """Let go of the store."""
        self._loop.run_until_complete(self._client.aclose())


async def _no_letters(letters: Sequence[object]) -> None:
    assert not letters


def _count_none(items: Hashes) -> int:
    return len(items) - len(items)
