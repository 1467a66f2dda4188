"""From the records of one fetch to what each shard must commit: decoding, dead letters, cuts."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import msgspec
import numpy as np

from recommender.hashing import hash_id
from recommender.ledger.batch import EventBatch
from recommender.ledger.layout import EVENT
from schemas.codec import RatingDecoder, quantise
from schemas.errors import EventError
from streams.bus.dead_letters import redrive_of
from streams.store.writer import DELTA

MAX_USERS_A_SCRIPT = 512


class LogRecord(Protocol):
    """What is used of a consumer's record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that breaks the contract."""

    record: LogRecord
    reason: str


class DecodedEvent(msgspec.Struct, frozen=True, gc=False):
    """A valid rating, reduced to what the fold needs; ``redrive`` names the dead letter it was.

    A struct, as making a frozen dataclass takes five times as long.
    """

    offset: int
    user_id: str
    shard: int
    item: int
    rating: int
    event: int
    redrive: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ShardPart:
    """One shard's events of a cut: users in order of their first event, and the events as arrays.

    Attributes:
        user_ids: the users.
        events: the events.
        redriven: for each redriven event, by its index, the dead letter it was.
        skipped: the dead letters whose redriven event was left out by :meth:`skip`, and its offset.
    """

    user_ids: list[str]
    events: EventBatch
    redriven: dict[int, bytes] = field(default_factory=dict)
    skipped: dict[bytes, int] = field(default_factory=dict)

    @property
    def marks(self) -> list[bytes]:
        """The dead letters that count as applied once the part is committed."""
        return [*self.redriven.values(), *self.skipped]

    def without(self, applied: Collection[bytes]) -> Self:
        """Return the part without the redriven events that were applied before, here or in the part itself."""
        kept: dict[bytes, int] = {}
        for index, name in self.redriven.items():
            if name not in applied and name not in self.skipped:
                kept.setdefault(name, index)
        dropped = set(self.redriven) - set(kept.values())
        skipped = {name: offset for name, offset in self.skipped.items() if name not in applied}
        if not dropped and len(skipped) == len(self.skipped):
            return self
        left = np.array([i for i in range(len(self.events.users)) if i not in dropped], np.int64)
        return self._keep(left, skipped)

    def skip(self, cuts: Mapping[str, int]) -> Self:
        """Return the part without the events of users below the offsets given.

        The dead letters among them keep their marks: which event of a dead letter counts is the log's to say, not which
        partition's forget event came first.
        """
        if not any(cuts.values()):
            return self
        lowest = np.array([cuts.get(user_id, 0) for user_id in self.user_ids], np.uint64)
        is_left = self.events.offsets >= lowest[self.events.users]
        if is_left.all():
            return self
        skipped = {name: int(self.events.offsets[i]) for i, name in self.redriven.items() if not is_left[i]}
        return self._keep(np.flatnonzero(is_left), {**self.skipped, **skipped})

    def before_user(self, user: int) -> tuple[Self, int]:
        """Return what lies before the first event of a user given by number, other than 0, and that event's offset."""
        offset = int(self.events.offsets[np.argmax(self.events.users == user)])
        skipped = {name: at for name, at in self.skipped.items() if at < offset}
        return self._keep(np.flatnonzero(self.events.offsets < offset), skipped), offset

    def since(self, offset: int) -> Self:
        """Return the part without the events below an offset."""
        skipped = {name: at for name, at in self.skipped.items() if at >= offset}
        return self._keep(np.flatnonzero(self.events.offsets >= offset), skipped)

    def _keep(self, left: np.ndarray, skipped: dict[bytes, int]) -> Self:
        found, firsts, inverse = np.unique(self.events.users[left], return_index=True, return_inverse=True)
        order = np.argsort(firsts)
        users, renumbered = found[order], np.argsort(order)[inverse]
        places = {old: new for new, old in enumerate(left.tolist())}
        return type(self)(
            [self.user_ids[user] for user in users.tolist()],
            EventBatch(renumbered.astype(np.int64), self.events.records[left], self.events.offsets[left]),
            {places[index]: name for index, name in self.redriven.items() if index in places},
            skipped,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A piece of a batch with at most 512 users a shard; ``end`` is the watermark after it."""

    end: int
    parts: dict[int, ShardPart]


def decode_records(
    records: Sequence[LogRecord], decoder: RatingDecoder, shards: int
) -> tuple[list[DecodedEvent], list[BadRecord]]:
    """Return the valid events and the bad records, each in offset order."""
    events, bad = [], []
    for record in records:
        try:
            rating = decoder.decode(record.value)
        except EventError as error:
            bad.append(BadRecord(record, error.reason))
            continue
        events.append(
            DecodedEvent(
                record.offset,
                rating.user_id,
                hash_id(rating.user_id) % shards if shards > 1 else 0,
                hash_id(rating.item_id),
                quantise(rating.rating),
                hash_id(rating.event_id) or 1 if rating.event_id is not None else 0,
                redrive_of(record.headers) if record.headers else None,
            )
        )
    return events, bad


def cut_events(
    events: Sequence[DecodedEvent], end: int, next_offsets: Sequence[int], most: int = MAX_USERS_A_SCRIPT
) -> Iterator[Cut]:
    """Yield the pieces of a batch that ends at ``end``; the last one, perhaps without events, ends there.

    Args:
        events: valid events in offset order.
        end: the offset after the batch.
        next_offsets: each shard's watermark; events below it were applied already and are left out.
        most: users a shard and piece may have.
    """
    users: dict[int, dict[str, int]] = {}
    chosen: dict[int, list[tuple[int, DecodedEvent]]] = {}
    for event in events:
        if event.offset < next_offsets[event.shard]:
            continue
        known = users.setdefault(event.shard, {})
        if event.user_id not in known and len(known) == most:
            yield Cut(event.offset, _parts(users, chosen))
            users, chosen = {}, {}
            known = users.setdefault(event.shard, {})
        index = known.setdefault(event.user_id, len(known))
        chosen.setdefault(event.shard, []).append((index, event))
    yield Cut(end, _parts(users, chosen))


def statistics_deltas(events: EventBatch, applied: np.ndarray) -> np.ndarray:
    """Return the change of item statistics that the applied events make, :data:`~streams.store.writer.DELTA`."""
    records = events.records[applied]
    items, inverse, counts = np.unique(records["item"], return_inverse=True, return_counts=True)
    deltas = np.zeros(len(items), DELTA)
    deltas["item"], deltas["count"] = items, counts
    np.add.at(deltas["rating_sum"], inverse, records["rating"].astype(np.int64))
    return deltas


def _parts(users: dict[int, dict[str, int]], chosen: dict[int, list[tuple[int, DecodedEvent]]]) -> dict[int, ShardPart]:
    return {shard: ShardPart(list(users[shard]), _batch(pairs), _redriven(pairs)) for shard, pairs in chosen.items()}


def _redriven(pairs: list[tuple[int, DecodedEvent]]) -> dict[int, bytes]:
    return {index: event.redrive for index, (_, event) in enumerate(pairs) if event.redrive is not None}


def _batch(pairs: list[tuple[int, DecodedEvent]]) -> EventBatch:
    records = np.empty(len(pairs), EVENT)
    records["item"] = [event.item for _, event in pairs]
    records["rating"] = [event.rating for _, event in pairs]
    records["event"] = [event.event for _, event in pairs]
    return EventBatch(
        users=np.array([index for index, _ in pairs], np.int64),
        records=records,
        offsets=np.array([event.offset for _, event in pairs], np.uint64),
    )
