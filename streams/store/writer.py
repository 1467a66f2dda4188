"""The worker's side of the state: take a partition, read what a batch needs, commit it guarded."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from redis.asyncio import Redis

from recommender.ledger.batch import EmbeddedItems, LedgerWrite, StoredLedger
from recommender.ledger.layout import TAIL_MAX, Records, header_dtype
from schemas.errors import StateMismatch
from streams.store.calls import as_unavailable, call_script_async
from streams.store.keys import ShardKeys, item_field, statistics_bucket
from streams.store.scripts import ASSIGN, COMMIT, READ, check_reply

DELTA = np.dtype([("item", "<u8"), ("count", "<u4"), ("rating_sum", "<i8")])
"""One item's change of statistics, as the delta stream packs it."""

DELTA_TOKEN_BYTES = 8
"""Each entry of the delta stream begins with random bytes: one of the same number from another history differs."""

DELTAS_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Claim:
    """A partition taken in one shard: only commits with this fence and owner are let through."""

    keys: ShardKeys
    watermark: str
    fence: int
    owner: str


@dataclass(frozen=True, slots=True)
class Watermark:
    """A partition's position in one shard, and when it last moved or was found at the end of the log."""

    next_offset: int
    fence: int
    owner: str
    stamp_ms: int

    @classmethod
    def parse(cls, value: bytes) -> "Watermark":
        """Return the watermark of a stored value."""
        next_offset, fence, owner, stamp_ms = value.decode().split(" ")
        return cls(int(next_offset), int(fence), owner, int(stamp_ms))


class StateWriter:
    """Calls the scripts; a lost reply is :class:`~schemas.errors.StoreUnavailable`, its outcome unknown.

    Args:
        client: a client with retries off.
        namespace: prefix of every key.
        shards: number of shards.
        scale: what is fixed when the state is made, as one line of text.
    """

    def __init__(self, client: Redis, namespace: str, shards: int, scale: str) -> None:
        self._client = client
        self._namespace = namespace
        self._scale = scale
        self.shards = shards

    async def generation(self, shard: int) -> int:
        """Return the live generation of a shard, 1 for a state not made yet."""
        value = await self._get(ShardKeys(self._namespace, shard).live_generation)
        return int(value or 1)

    async def assign(
        self, shard: int, topic_id: str, partition: int, owner: str, first_offset: int | None
    ) -> tuple[Claim, int] | None:
        """Take a partition; return the claim and the next offset, or None when nothing is known of it.

        Args:
            shard: number of the shard.
            topic_id: id of the ratings topic.
            partition: the partition.
            owner: a random name of the taker, without spaces.
            first_offset: where to start when there is no watermark; None to be told instead.

        Raises:
            StateMismatch: another rating scale or number of shards than the state's.
            TopicReplaced: the state was made from another topic.
            GenerationChanged: the generation was flipped in between.
            StoreUnavailable: no answer.
        """
        keys = ShardKeys(self._namespace, shard, await self.generation(shard))
        watermark = keys.watermark(topic_id, partition)
        first = "" if first_offset is None else str(first_offset)
        reply = await call_script_async(
            self._client,
            ASSIGN,
            [keys.live_generation, keys.scale, keys.topic, watermark],
            [keys.generation, self._scale, topic_id, owner, first],
        )
        if reply[0] == b"MISSING":
            return None
        try:
            next_offset, fence = check_reply(reply)
        except StateMismatch as error:
            raise StateMismatch(f"{error}, the settings say {self._scale}") from None
        return Claim(keys, watermark, int(fence), owner), int(next_offset)

    async def accept_topic(self, shard: int, topic_id: str) -> None:
        """Go on with another topic: its partitions start anew, ledgers and statistics stay."""
        keys = ShardKeys(self._namespace, shard, await self.generation(shard))
        with as_unavailable():
            await self._client.set(keys.topic, topic_id)

    async def read(
        self, claim: Claim, user_ids: Sequence[str], new_events: Sequence[int], items: EmbeddedItems
    ) -> list[StoredLedger | None]:
        """Return what is stored of users: header and tail, or the whole value when it will be rewritten.

        Raises:
            GenerationChanged: the generation was flipped.
            StoreUnavailable: no answer; reading again is safe.
        """
        keys = claim.keys
        reply = await call_script_async(
            self._client,
            READ,
            [keys.live_generation, *map(keys.ledger, user_ids)],
            [keys.generation, items.dim, items.embedding_id, header_dtype(items.dim).itemsize, TAIL_MAX, *new_events],
        )
        return [None if value is None else StoredLedger(value[1:], value[:1] == b"W") for value in check_reply(reply)]

    async def commit(
        self,
        claim: Claim,
        expected: int,
        new: int,
        user_ids: Sequence[str] = (),
        writes: Sequence[LedgerWrite] = (),
        deltas: Records | None = None,
    ) -> None:
        """Write a batch and move the watermark from ``expected`` to ``new``, or nothing.

        Args:
            claim: the partition as taken.
            expected: the watermark before.
            new: the watermark after.
            user_ids: users written.
            writes: their changes.
            deltas: changes of item statistics, :data:`DELTA`.

        Raises:
            Fenced, OffsetMoved, GenerationChanged, RevisionConflict: nothing was written.
            StoreUnavailable: no answer; it was written or not, see :meth:`watermark`.
        """
        keys = claim.keys
        deltas = np.empty(0, DELTA) if deltas is None else deltas
        buckets: dict[int, int] = {}
        changes: list[Any] = []
        for item, count, rating_sum in deltas.tolist():
            bucket = statistics_bucket(item)
            index = buckets.setdefault(bucket, 5 + len(user_ids) + len(buckets))
            field = item_field(item)
            changes += (index, field + b"c", count, field + b"s", rating_sum)
        ledgers: list[Any] = []
        for write in writes:
            ledgers += ("A" if write.is_append else "W", write.expected, write.head, write.tail)
        reply = await call_script_async(
            self._client,
            COMMIT,
            [
                keys.live_generation,
                claim.watermark,
                keys.sequence,
                keys.deltas,
                *map(keys.ledger, user_ids),
                *map(keys.statistics, buckets),
            ],
            [
                keys.generation,
                claim.fence,
                claim.owner,
                expected,
                new,
                len(user_ids),
                len(deltas),
                DELTAS_KEPT,
                secrets.token_bytes(DELTA_TOKEN_BYTES) + deltas.tobytes(),
                *ledgers,
                *changes,
            ],
        )
        check_reply(reply)

    async def watermark(self, claim: Claim) -> Watermark | None:
        """Return the partition's watermark as it stands; None when there is none."""
        value = await self._get(claim.watermark)
        return None if value is None else Watermark.parse(value)

    async def _get(self, key: str) -> bytes | None:
        with as_unavailable():
            value: Any = await self._client.get(key)
        return None if value is None else bytes(value)
