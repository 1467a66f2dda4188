"""The commit protocol of one batch: decode, dead-letter, read, fold, commit."""

import asyncio
import random
import secrets
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Self

import numpy as np
import structlog

from recommender.arrays import Hashes
from recommender.hashing import hash_id, shard_of
from recommender.ledger import unpack
from recommender.ledger.batch import EmbeddedItems, FoldedBatch, fold_batch
from recommender.ledger.layout import PREFIX_BYTES
from schemas.codec import RatingDecoder
from schemas.errors import BreakerOpen, BusUnavailable, Fenced, OffsetMoved, RevisionConflict, StoreUnavailable
from streams.bus.dead_letters import DeadLetter, make_dead_letter, redrive_of
from streams.store.writer import StateWriter
from streams.worker.batches import (
    BadRecord,
    DecodedEvent,
    LogRecord,
    ShardPart,
    cut_events,
    decode_records,
    statistics_deltas,
)
from streams.worker.breaker import MOST_BAD_PERCENT, BreakerMark, Window, observe
from streams.worker.forgetting import Forgetting, cuts_here, plan_forget, take_forgets
from streams.worker.session import Session

log = structlog.get_logger(__name__)

MAX_REVISION_TRIES = 8
STORE_RETRY_S = 0.2

SendLetters = Callable[[Sequence[DeadLetter]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """What the commit of one shard's part did: events applied and repeated, of unknown items, tries in conflict."""

    applied: int = 0
    repeats: int = 0
    unknown_items: int = 0
    conflicts: int = 0

    def plus(self, other: Self) -> Self:
        """Return what both did."""
        return type(self)(
            self.applied + other.applied,
            self.repeats + other.repeats,
            self.unknown_items + other.unknown_items,
            self.conflicts + other.conflicts,
        )


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch did.

    Attributes:
        records: records fetched.
        applied: events that changed the state.
        repeats: events whose event_id was in the user's tail already, and redriven ones applied before.
        dead_letters: bad records, by reason.
        unknown_items: events applied whose item the catalogue does not have.
        conflicts: tries that found a ledger changed and read it again.
    """

    records: int
    applied: int
    repeats: int
    dead_letters: dict[str, int]
    unknown_items: int
    conflicts: int


@dataclass(frozen=True, slots=True, eq=False)
class FoldedPart:
    """As much of a shard's part as one script may carry, ready to be committed.

    Attributes:
        part: the events.
        batch: what they do.
        end: the watermark after them.
        forgets: how many forget events the shard had applied when the ledgers were read.
    """

    part: ShardPart
    batch: FoldedBatch
    end: int
    forgets: bytes


class BatchApplier:
    """Applies batches under a session; a batch is applied once or the session ends.

    Args:
        writer: the state.
        decoder: of rating events.
        send_letters: sends dead letters and returns when all are acknowledged.
        embedded_items: returns the item vectors to fold with; asked once a batch.
        count_unknown: returns how many of some item hashes the catalogue does not have.
    """

    def __init__(
        self,
        writer: StateWriter,
        decoder: RatingDecoder,
        send_letters: SendLetters,
        embedded_items: Callable[[], EmbeddedItems],
        count_unknown: Callable[[Hashes], int],
    ) -> None:
        self._writer = writer
        self._decoder = decoder
        self._send_letters = send_letters
        self._embedded_items = embedded_items
        self._count_unknown = count_unknown
        self._windows: dict[tuple[str, int], Window] = {}

    async def apply(self, session: Session, records: Sequence[LogRecord]) -> Applied:
        """Apply the records of one fetch and move the session behind them.

        Raises:
            Fenced: give the partition up.
            OffsetMoved, GenerationChanged: begin a new session.
            BreakerOpen: too many events are bad; nothing of the batch was sent or applied.
        """
        items = self._embedded_items()
        events, bad = decode_records(records, self._decoder, session.shards)
        forgets, bad = take_forgets(bad)
        await self._check_breaker(session, records, bad)
        if bad:
            await self._dead_letter(session, [_letter(session, fault) for fault in bad])
        end = records[-1].offset + 1
        outcomes: list[PartOutcome] = []
        for forget in forgets:
            at = bisect_left(events, forget.record.offset, key=attrgetter("offset"))
            outcomes += await self._apply_events(session, events[:at], forget.record.offset, items)
            await self._forget(session, forget)
            events = events[at:]
        outcomes += await self._apply_events(session, events, end, items)
        session.position = end
        return Applied(
            records=len(records),
            applied=sum(outcome.applied for outcome in outcomes),
            repeats=sum(outcome.repeats for outcome in outcomes),
            dead_letters=dict(Counter(fault.reason for fault in bad)),
            unknown_items=sum(outcome.unknown_items for outcome in outcomes),
            conflicts=sum(outcome.conflicts for outcome in outcomes),
        )

    async def _dead_letter(self, session: Session, letters: Sequence[DeadLetter]) -> None:
        """Send letters until all are acknowledged; a repeat folds into one by its key."""
        while True:
            try:
                await self._send_letters(letters)
            except BusUnavailable as error:
                log.warning("bus.unavailable", partition=session.partition, error=str(error))
                await asyncio.sleep(STORE_RETRY_S)
            else:
                return

    async def _apply_events(
        self, session: Session, events: Sequence[DecodedEvent], end: int, items: EmbeddedItems
    ) -> list[PartOutcome]:
        outcomes: list[PartOutcome] = []
        for cut in cut_events(events, end, session.next_offsets):
            outcomes += await asyncio.gather(
                *(
                    self._commit_part(session, shard, cut.end, cut.parts.get(shard), items)
                    for shard in range(session.shards)
                )
            )
        return outcomes

    async def _forget(self, session: Session, forget: Forgetting) -> None:
        """Apply a forget event in its user's shard, and move the others behind it."""
        end, home = forget.record.offset + 1, shard_of(forget.event.user_id, session.shards)
        for shard in range(session.shards):
            if end <= session.next_offsets[shard]:
                continue
            if shard == home:
                await self._forget_user(session, shard, forget)
            else:
                await self._commit(session, shard, end)

    async def _forget_user(self, session: Session, shard: int, forget: Forgetting) -> None:
        claim, expected, new = session.claims[shard], session.next_offsets[shard], forget.record.offset + 1
        user_id = forget.event.user_id
        for _ in range(MAX_REVISION_TRIES):
            try:
                value = await self._writer.read_ledger(claim, user_id)
                stored = (await self._writer.cuts(claim, [user_id])).get(user_id, b"")
                plan = plan_forget(
                    forget,
                    unpack(value) if value else None,
                    stored,
                    topic_id=session.topic_id,
                    partition=session.partition,
                )
                await self._writer.forget(
                    claim,
                    expected,
                    new,
                    user_id,
                    revision=value[:PREFIX_BYTES],
                    removes=plan.removes,
                    stored_cuts=stored,
                    cuts=plan.cuts,
                    deltas=plan.deltas,
                )
            except RevisionConflict:
                continue
            except StoreUnavailable as error:
                log.warning("store.unavailable", partition=session.partition, shard=shard, error=str(error))
                if not await self._was_committed(session, shard, new):
                    continue
            else:
                log.info("user.forgotten", partition=session.partition, offset=forget.record.offset, shard=shard)
            session.next_offsets[shard] = new
            return
        raise OffsetMoved(f"a ledger of shard {shard} changed under {MAX_REVISION_TRIES} tries")

    async def _check_breaker(self, session: Session, records: Sequence[LogRecord], bad: Sequence[BadRecord]) -> None:
        """Count a batch before its dead letters are sent.

        Raises:
            BreakerOpen: too many events are bad, and the store remembers it.
            Fenced, OffsetMoved, GenerationChanged: too many are bad, and the partition is not ours to halt on.
        """
        partition = (session.topic_id, session.partition)
        window = self._windows.get(partition, Window())
        window = replace(window, next_offset=max(window.next_offset, session.forgiven))
        offsets = [record.offset for record in records]
        self._windows[partition], trip = observe(window, offsets, {fault.record.offset: fault.reason for fault in bad})
        if trip is None:
            return
        why = (
            f"{trip} of {session.topic!r} partition {session.partition}, over {MOST_BAD_PERCENT} %: the dead-letter "
            f"breaker is open, the state stands at offset {session.position}; run the release that understands them, "
            "or repair the producer, then `streamrec worker --resume`, which dead-letters what is bad in the log then"
        )
        mark = BreakerMark(is_open=True, until=offsets[-1] + 1, why=why).to_bytes()
        while True:
            try:
                await self._writer.write_breaker(session.claims[0], *partition, mark)
                break
            except StoreUnavailable as error:
                log.warning("store.unavailable", partition=session.partition, shard=0, error=str(error))
                await asyncio.sleep(STORE_RETRY_S)
        raise BreakerOpen(why)

    async def move(self, session: Session, position: int) -> None:
        """Move the watermark over a hole in the log, or, to where it is, refresh its time.

        Raises:
            Fenced: give the partition up.
            OffsetMoved, GenerationChanged: begin a new session.
        """
        for shard in range(session.shards):
            await self._commit(session, shard, max(position, session.next_offsets[shard]))
        session.position = max(position, session.position)

    async def _commit_part(
        self, session: Session, shard: int, end: int, part: ShardPart | None, items: EmbeddedItems
    ) -> PartOutcome:
        if end <= session.next_offsets[shard]:
            return PartOutcome()
        if part is None:
            await self._commit(session, shard, end)
            return PartOutcome()
        done, reached = await self._commit_piece(session, shard, end, part, items)
        while reached < end:
            part = part.since(reached)
            piece, reached = await self._commit_piece(session, shard, end, part, items)
            done = done.plus(piece)
        return done

    async def _commit_piece(
        self, session: Session, shard: int, end: int, part: ShardPart, items: EmbeddedItems
    ) -> tuple[PartOutcome, int]:
        """Commit as much of a part as one script may carry; return the watermark after it too."""
        for conflicts in range(MAX_REVISION_TRIES):
            folded = await self._read_and_fold(session, shard, end, part, items)
            try:
                await self._commit(session, shard, folded.end, folded)
            except RevisionConflict as conflict:
                log.info("commit.conflicts", partition=session.partition, shard=shard, users=len(conflict.indexes))
                await asyncio.sleep(random.uniform(0, 0.01) * 2**conflicts)  # noqa: S311 - jitter
                continue
            applied = folded.part.events.records["item"][folded.batch.applied]
            repeats = int((part.events.offsets < folded.end).sum()) - len(applied)
            return PartOutcome(len(applied), repeats, self._count_unknown(applied), conflicts), folded.end
        raise OffsetMoved(f"ledgers of shard {shard} changed under {MAX_REVISION_TRIES} tries")

    async def _read_and_fold(
        self, session: Session, shard: int, end: int, part: ShardPart, items: EmbeddedItems
    ) -> FoldedPart:
        """Fold as much of the part as one script may carry.

        Redriven events that were applied before and events of forgotten users are left out.
        """
        claim = session.claims[shard]
        while True:
            try:
                if part.redriven:
                    part = part.without(await self._writer.redriven(claim, part.redriven.values()))
                new_events = np.bincount(part.events.users, minlength=len(part.user_ids)).tolist()
                reading = await self._writer.read(claim, part.user_ids, new_events, items)
                kept = part.skip(cuts_here(reading.cuts, session.topic_id, session.partition))
                if kept is part:
                    break
                part = kept
            except StoreUnavailable as error:
                log.warning("store.unavailable", partition=session.partition, shard=shard, error=str(error))
                await asyncio.sleep(STORE_RETRY_S)
        stored = reading.ledgers
        if len(stored) < len(part.user_ids):
            part, end = part.before_user(len(stored))
        first_revs = np.frombuffer(secrets.token_bytes(4 * len(part.user_ids)), "<u4").astype(np.uint64)
        topic = hash_id(session.topic_id)
        batch = fold_batch(part.events, stored, first_revs, topic, session.partition, items)
        return FoldedPart(part, batch, end, reading.forgets)

    async def _commit(self, session: Session, shard: int, new: int, folded: FoldedPart | None = None) -> None:
        claim, expected = session.claims[shard], session.next_offsets[shard]
        while True:
            try:
                if folded is None:
                    await self._writer.commit(claim, expected, new)
                else:
                    part, batch = folded.part, folded.batch
                    user_ids = [part.user_ids[user] for user in batch.users]
                    deltas = statistics_deltas(part.events, batch.applied)
                    redriven = list(part.redriven.values())
                    await self._writer.commit(
                        claim, expected, new, user_ids, batch.writes, deltas, redriven, folded.forgets
                    )
            except StoreUnavailable as error:
                log.warning("store.unavailable", partition=session.partition, shard=shard, error=str(error))
                if not await self._was_committed(session, shard, new):
                    continue
            session.next_offsets[shard] = new
            return

    async def _was_committed(self, session: Session, shard: int, new: int) -> bool:
        """Resolve an unknown outcome from the watermark, however long the store is away."""
        claim, expected = session.claims[shard], session.next_offsets[shard]
        while True:
            await asyncio.sleep(STORE_RETRY_S)
            try:
                mark = await self._writer.watermark(claim)
            except StoreUnavailable:
                continue
            if mark is None:
                raise OffsetMoved(f"the watermark of shard {shard} is gone")
            if (mark.fence, mark.owner) != (claim.fence, claim.owner):
                if mark.fence < claim.fence:
                    raise OffsetMoved(f"shard {shard} went back to fence {mark.fence}")
                raise Fenced(f"another worker holds the partition, at fence {mark.fence}")
            if mark.next_offset == new:
                return True
            if mark.next_offset == expected:
                return False
            raise OffsetMoved(f"the watermark of shard {shard} is at {mark.next_offset}")


def _letter(session: Session, fault: BadRecord) -> DeadLetter:
    return make_dead_letter(
        reason=fault.reason,
        topic=session.topic,
        topic_id=session.topic_id,
        partition=session.partition,
        offset=fault.record.offset,
        key=fault.record.key,
        value=fault.record.value,
        first_seen_ms=int(time.time() * 1000),
        redrive=redrive_of(fault.record.headers),
    )
