"""The worker's side of the state: take a partition, read what a batch needs, commit it guarded."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from redis.asyncio import Redis

from recommender.ledger.batch import EmbeddedItems, LedgerWrite, StoredLedger
from recommender.ledger.layout import ENTRIES_AN_EVENT, TAIL_KEEP, TAIL_MAX, WRITTEN, Records, header_dtype
from schemas.errors import Refusal, RevisionConflict, StateMismatch, StoreUnavailable
from streams.store.calls import as_unavailable, call_script_async
from streams.store.generations import Generation, scale_line
from streams.store.keys import STATISTICS_BUCKETS, ShardKeys, forgotten_field
from streams.store.ledger_cache import LedgerCache
from streams.store.scripts import ASSIGN, BREAKER, COMMIT, FORGET, IDLE, READ, SCAN, check_reply

DELTA = np.dtype([("item", "<u8"), ("count", "<i4"), ("rating_sum", "<i8")])
"""One item's change of statistics, as the delta stream packs it."""

DELTA_TOKEN_BYTES = 8
"""Each entry of the delta stream begins with random bytes: one of the same number from another history differs."""

DELTAS_KEPT = 1024

WHOLE_BYTES = 1024
"""A shorter ledger is read and written whole, in an allocation of its size; to a longer one, events are appended."""

_NOT_ASKED = "-"

READ_BYTES = 4 * 1024 * 1024
"""Most bytes of ledgers that one call reads, and one commit writes, beyond the first ledger and the new events."""


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


@dataclass(frozen=True, slots=True)
class IdleLedger:
    """A ledger that nobody touched for a while; ``is_loose`` when its allocation is far longer than the value."""

    user_id: str
    value: bytes
    is_loose: bool


class Reading(NamedTuple):
    """What a batch goes out from.

    Attributes:
        ledgers: of the first users, at least one, None for no ledger.
        cuts: of those of them who were forgotten.
        forgets: how many forget events the shard had applied, for the commit.
    """

    ledgers: list[StoredLedger | None]
    cuts: dict[str, bytes]
    forgets: bytes


class StateWriter:
    """Calls the scripts; a lost reply is :class:`~schemas.errors.StoreUnavailable`, its outcome unknown.

    Args:
        client: a client with retries off.
        namespace: prefix of every key.
        shards: number of shards of a state that no rebuild made.
        scale: the rating scale, fixed when the state is made, as text.
        builds: number of the generation to make beside the live one; None to write the live one.
        cache_bytes: how much of the ledgers read or written last is kept here, so that they need no reading; the shards
            have equal parts.
    """

    def __init__(
        self,
        client: Redis,
        namespace: str,
        shards: int,
        scale: str,
        *,
        builds: int | None = None,
        cache_bytes: int = 0,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._scale = scale
        self._shards = shards
        self._builds = builds
        self._cache_bytes = cache_bytes
        self._caches: dict[ShardKeys, LedgerCache] = {}

    async def generation(self) -> Generation:
        """Return the generation to write: the live one, number 1 for a state not made yet, or the one being built.

        Raises:
            StoreUnavailable: no answer; asking again is safe.
        """
        if self._builds is not None:
            return Generation(self._builds, self._shards, is_built=True)
        number = int(await self._get(ShardKeys(self._namespace, 0).live_generation) or 1)
        made_with = await self._get(ShardKeys(self._namespace, 0, number).shards)
        return Generation(number, int(made_with or self._shards))

    async def assign(
        self,
        shard: int,
        topic_id: str,
        partition: int,
        owner: str,
        first_offset: int | None,
        generation: Generation | None = None,
    ) -> tuple[Claim, int] | None:
        """Take a partition; return the claim and the next offset, or None when nothing is known of it.

        Args:
            shard: number of the shard.
            topic_id: id of the ratings topic.
            partition: the partition.
            owner: a random name of the taker, without spaces.
            first_offset: where to start when there is no watermark; None to be told instead.
            generation: the generation to take it in; None to look which one it is.

        Raises:
            StateMismatch: another rating scale or number of shards than the state's.
            TopicReplaced: the state was made from another topic.
            GenerationChanged: the generation was flipped in between.
            StoreUnavailable: no answer.
        """
        generation = generation or await self.generation()
        keys = generation.keys(self._namespace, shard)
        scale = scale_line(self._scale, generation.shards)
        watermark = keys.watermark(topic_id, partition)
        first = "" if first_offset is None else str(first_offset)
        reply = await call_script_async(
            self._client,
            ASSIGN,
            [keys.live_generation, keys.scale, keys.topic, watermark],
            [keys.generation, scale, topic_id, owner, first, int(shard > 0)],
        )
        if reply[0] == b"MISSING":
            return None
        try:
            next_offset, fence = check_reply(reply)
        except StateMismatch as error:
            raise StateMismatch(f"{error}, the settings say {scale}") from None
        self._caches = {known: cache for known, cache in self._caches.items() if known.generation == keys.generation}
        self._caches.setdefault(keys, LedgerCache(self._cache_bytes // generation.shards, WHOLE_BYTES))
        return Claim(keys, watermark, int(fence), owner), int(next_offset)

    async def accept_topic(self, shard: int, topic_id: str) -> None:
        """Go on with another topic: its partitions start anew, ledgers and statistics stay."""
        keys = (await self.generation()).keys(self._namespace, shard)
        with as_unavailable():
            await self._client.set(keys.topic, topic_id)

    async def read(
        self, claim: Claim, user_ids: Sequence[str], new_events: Sequence[int], items: EmbeddedItems
    ) -> Reading:
        """Return what a batch with so many new events a user goes out from, read now or kept from before.

        It is for the first users, at least one: as many as :data:`READ_BYTES` allow. A ledger is header and newest
        events, or the whole value when that will be rewritten. Whether it is still so, the commit finds out.

        Raises:
            GenerationChanged: the generation was flipped.
            StoreUnavailable: no answer; reading again is safe.
        """
        cache = self._cache(claim)
        while True:
            ledgers, forgets = cache.find(user_ids, new_events, items), cache.forgets
            missing = [i for i, ledger in enumerate(ledgers) if ledger is None]
            if forgets is not None and not missing:
                return Reading(ledgers, {}, forgets)
            kept_bytes = sum(len(ledger.value) for ledger in ledgers if ledger is not None)
            seen, read = await self._read_ledgers(
                claim,
                [user_ids[i] for i in missing],
                [new_events[i] for i in missing],
                items,
                max(READ_BYTES - kept_bytes, 0),
            )
            cache.see_forgets(seen)
            if forgets is None or forgets == seen:
                break
        # Not older than the ledgers: a forget event applied between the two is found by the commit.
        cuts = await self.cuts(claim, [user_ids[i] for i in missing]) if seen else {}
        for i, ledger in zip(missing, read, strict=False):
            ledgers[i] = ledger
            if user_ids[i] not in cuts:
                cache.add(user_ids[i], ledger)
        if len(read) < len(missing):
            del ledgers[missing[len(read)] :]
        return Reading(ledgers, cuts, seen)

    async def _read_ledgers(
        self, claim: Claim, user_ids: Sequence[str], new_events: Sequence[int], items: EmbeddedItems, most_bytes: int
    ) -> tuple[bytes, list[StoredLedger | None]]:
        keys = claim.keys
        reply = await call_script_async(
            self._client,
            READ,
            [keys.live_generation, *keys.ledgers(user_ids), keys.forgotten],
            [
                keys.generation,
                WRITTEN + items.dim.to_bytes(2, "little"),
                items.embedding_id,
                header_dtype(items.dim).itemsize,
                TAIL_MAX,
                ENTRIES_AN_EVENT,
                WHOLE_BYTES,
                most_bytes,
                *new_events,
            ],
        )
        forgets, kinds, *values = check_reply(reply)
        return forgets, list(map(_stored, kinds.split(b","), values)) if values else []

    async def cuts(self, claim: Claim, user_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the cuts kept of those users who were forgotten.

        Raises:
            StoreUnavailable: no answer; asking again is safe.
        """
        fields = [forgotten_field(user_id) for user_id in user_ids]
        with as_unavailable():
            found: Any = await self._client.hmget(claim.keys.forgotten, fields) if fields else []
        return {user_id: cut for user_id, cut in zip(user_ids, found, strict=True) if cut is not None}

    async def read_ledger(self, claim: Claim, user_id: str) -> bytes:
        """Return a whole ledger, empty for none.

        Raises:
            StoreUnavailable: no answer; reading again is safe.
        """
        return await self._get(claim.keys.ledger(user_id)) or b""

    async def forget(
        self,
        claim: Claim,
        expected: int,
        new: int,
        user_id: str,
        *,
        revision: bytes,
        removes: bool,
        stored_cuts: bytes,
        cuts: bytes,
        deltas: Records,
    ) -> None:
        """Forget a user and move the watermark from ``expected`` to ``new``, or nothing.

        Args:
            claim: the partition as taken.
            expected: the watermark before.
            new: the watermark after.
            user_id: who.
            revision: first 16 bytes of the ledger as read, empty for none.
            removes: whether the ledger goes.
            stored_cuts: the user's cuts as read, empty for none.
            cuts: what is kept instead.
            deltas: changes of item statistics, :data:`DELTA`.

        Raises:
            Fenced, OffsetMoved, GenerationChanged, RevisionConflict: nothing was written.
            StoreUnavailable: no answer; it was written or not, see :meth:`watermark`.
        """
        keys = claim.keys
        buckets, packed = _packed(deltas)
        reply = await call_script_async(
            self._client,
            FORGET,
            [
                keys.live_generation,
                claim.watermark,
                keys.sequence,
                keys.deltas,
                keys.forgotten,
                keys.ledger(user_id),
                *map(keys.statistics, buckets),
            ],
            [
                keys.generation,
                claim.fence,
                claim.owner,
                expected,
                new,
                revision,
                int(removes),
                STATISTICS_BUCKETS,
                DELTAS_KEPT,
                packed,
                forgotten_field(user_id),
                stored_cuts,
                cuts,
            ],
        )
        check_reply(reply)
        self._cache(claim).drop([user_id])

    async def redriven(self, claim: Claim, events: Collection[bytes]) -> set[bytes]:
        """Return which redriven events, named by the coordinates of their dead letters, were applied already.

        Raises:
            StoreUnavailable: no answer; asking again is safe.
        """
        names = list(events)
        with as_unavailable():
            found = await self._client.smismember(claim.keys.redriven, names) if names else []
        return {name for name, is_applied in zip(names, found, strict=True) if is_applied}

    async def commit(
        self,
        claim: Claim,
        expected: int,
        new: int,
        user_ids: Sequence[str] = (),
        writes: Sequence[LedgerWrite] = (),
        deltas: Records | None = None,
        redriven: Sequence[bytes] = (),
        forgets: bytes | None = None,
    ) -> None:
        """Write a batch and move the watermark from ``expected`` to ``new``, or nothing.

        Args:
            claim: the partition as taken.
            expected: the watermark before.
            new: the watermark after.
            user_ids: users written.
            writes: their changes.
            deltas: changes of item statistics, :data:`DELTA`.
            redriven: coordinates of the redriven events that count as applied from now on; none may have before.
            forgets: how many forget events the shard must have applied, as read; None when it does not matter.

        Raises:
            Fenced, OffsetMoved, GenerationChanged, RevisionConflict: nothing was written.
            StoreUnavailable: no answer; it was written or not, see :meth:`watermark`.
        """
        cache = self._cache(claim)
        try:
            await self._commit(claim, expected, new, user_ids, writes, deltas, redriven, forgets)
        except RevisionConflict as conflict:
            if conflict.indexes:
                cache.conflict(user_ids, writes, conflict.indexes)
            else:
                cache.clear()
            raise
        except StoreUnavailable:
            cache.drop(user_ids)
            raise
        except Refusal:
            cache.clear()
            raise
        cache.written(user_ids, writes)

    async def _commit(
        self,
        claim: Claim,
        expected: int,
        new: int,
        user_ids: Sequence[str],
        writes: Sequence[LedgerWrite],
        deltas: Records | None,
        redriven: Sequence[bytes],
        forgets: bytes | None,
    ) -> None:
        keys = claim.keys
        buckets, packed = _packed(np.empty(0, DELTA) if deltas is None else deltas)
        ledgers: list[Any] = []
        for write in writes:
            ledgers += (write.expected, write.head, write.tail)
        reply = await call_script_async(
            self._client,
            COMMIT,
            [
                keys.live_generation,
                claim.watermark,
                keys.sequence,
                keys.deltas,
                keys.forgotten,
                *keys.ledgers(user_ids),
                *map(keys.statistics, buckets),
                *([keys.redriven] if redriven else []),
            ],
            [
                keys.generation,
                claim.fence,
                claim.owner,
                expected,
                new,
                len(user_ids),
                _NOT_ASKED if forgets is None else forgets,
                STATISTICS_BUCKETS,
                DELTAS_KEPT,
                packed,
                *ledgers,
                *redriven,
            ],
        )
        check_reply(reply)

    async def scan_users(self, claim: Claim, cursor: int, count: int) -> tuple[int, list[str]]:
        """Return the next cursor of a walk over a shard's users, 0 at its end, and some of them, perhaps none.

        Args:
            claim: the partition as taken.
            cursor: 0, or what the step before returned.
            count: about how many keys to look at.

        Raises:
            GenerationChanged: the generation was flipped.
            StoreUnavailable: no answer; asking again is safe.
        """
        keys = claim.keys
        reply = await call_script_async(
            self._client, SCAN, [keys.live_generation], [keys.generation, cursor, keys.ledger_pattern(), count]
        )
        ((following, found),) = check_reply(reply)
        return int(following), [keys.user_of(key.decode()) for key in found]

    async def read_idle(
        self, claim: Claim, user_ids: Sequence[str], idle_s: int, most_bytes: int
    ) -> tuple[int, list[IdleLedger]]:
        """Return how many of the users were looked at, at least one, and of these the ledgers that may be made smaller.

        Args:
            claim: the partition as taken.
            user_ids: some users of the shard.
            idle_s: how long nobody may have read or written a ledger.
            most_bytes: bytes of ledgers to return, one ledger in any case.

        Raises:
            GenerationChanged: the generation was flipped.
            StoreUnavailable: no answer; asking again is safe.
        """
        keys = claim.keys
        reply = await call_script_async(
            self._client,
            IDLE,
            [keys.live_generation, *keys.ledgers(user_ids)],
            [keys.generation, idle_s, TAIL_KEEP, most_bytes],
        )
        looked, *found = check_reply(reply)
        places, are_loose, values = found[::3], found[1::3], found[2::3]
        return looked, [
            IdleLedger(user_ids[place], value, bool(is_loose))
            for place, is_loose, value in zip(places, are_loose, values, strict=True)
        ]

    async def watermark(self, claim: Claim) -> Watermark | None:
        """Return the partition's watermark as it stands; None when there is none."""
        value = await self._get(claim.watermark)
        return None if value is None else Watermark.parse(value)

    async def read_breaker(self, claim: Claim, topic_id: str, partition: int) -> bytes | None:
        """Return what is kept of a partition's dead-letter breaker, None for nothing; ``claim`` is shard 0's."""
        return await self._get(claim.keys.breaker(topic_id, partition))

    async def write_breaker(self, claim: Claim, topic_id: str, partition: int, value: bytes) -> None:
        """Keep a partition's dead-letter breaker; ``claim`` is shard 0's.

        Raises:
            Fenced, OffsetMoved, GenerationChanged: nothing was written.
            StoreUnavailable: no answer; writing it again is safe.
        """
        keys = claim.keys
        reply = await call_script_async(
            self._client,
            BREAKER,
            [keys.live_generation, claim.watermark, keys.breaker(topic_id, partition)],
            [keys.generation, claim.fence, claim.owner, value],
        )
        check_reply(reply)

    def _cache(self, claim: Claim) -> LedgerCache:
        """Return what is kept of a shard; nothing of one that is not of the generation taken last."""
        return self._caches.get(claim.keys) or LedgerCache(0, WHOLE_BYTES)

    async def _get(self, key: str) -> bytes | None:
        with as_unavailable():
            value: Any = await self._client.get(key)
        return None if value is None else bytes(value)


def _stored(kind: bytes, value: bytes) -> StoredLedger | None:
    match kind:
        case b"-":
            return None
        case b"W":
            return StoredLedger(value, is_whole=True)
        case _:
            return StoredLedger(value, is_whole=False, tail=int(kind))


def _packed(deltas: Records) -> tuple[list[int], bytes]:
    """Return the buckets that changes of item statistics touch, and the changes, those of one bucket in a row."""
    buckets = deltas["item"] % STATISTICS_BUCKETS
    order = np.argsort(buckets, kind="stable")
    touched = np.unique(buckets).tolist()
    return touched, secrets.token_bytes(DELTA_TOKEN_BYTES) + deltas[order].tobytes()
