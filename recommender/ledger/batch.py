"""The fold of a batch of events into the ledgers of its users: the worker's hot path.

Every user's events are applied in offset order; round j applies the j-th event of each user at once, with the same
floating-point operations as :func:`recommender.ledger.fold.apply_event`, so both give the same bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from recommender.ledger.fold import mean_of_entries
from recommender.ledger.layout import (
    ENTRY,
    EVENT,
    FIXED_BYTES,
    LAYOUT,
    PREFIX_BYTES,
    TAIL_MAX,
    VERSION,
    WRITTEN,
    Ledger,
    Records,
    entries,
    fold_tail,
    header_dtype,
    most_in_tail,
    unpack,
    window,
)
from schemas.codec import RATING_QUANTUM


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedItems:
    """The item vectors one batch is folded with, captured at its start.

    Attributes:
        embedding_id: 8 bytes naming the release.
        hashes: item hashes in ascending order, uint64, shape [N]; only items with a vector.
        vectors: their vectors, float64, shape [N, D].
    """

    embedding_id: bytes
    hashes: NDArray[np.uint64]
    vectors: NDArray[np.float64]

    @property
    def dim(self) -> int:
        """The embedding size D."""
        return int(self.vectors.shape[1])

    def rows(self, items: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the row of each item, -1 where it has no vector."""
        if not len(self.hashes):
            return np.full(len(items), -1, np.int64)
        at = np.minimum(np.searchsorted(self.hashes, items), len(self.hashes) - 1)
        return np.where(self.hashes[at] == items, at, -1)


class StoredLedger(msgspec.Struct, frozen=True, gc=False):
    """What was read of one user: header and newest events, or the whole value when it will be rewritten.

    A struct, as thousands of these are made a second.

    Attributes:
        value: the bytes.
        is_whole: whether it is the whole value.
        tail: where it is not, how many events the tail has.
    """

    value: bytes
    is_whole: bool
    tail: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class EventBatch:
    """Decoded events of one partition and shard, in offset order; all arrays have one element an event.

    Attributes:
        users: index of the event's user in the batch's list of users.
        records: item, rating and event-id hash, :data:`~recommender.ledger.layout.EVENT`.
        offsets: offset in the log.
    """

    users: NDArray[np.int64]
    records: Records
    offsets: NDArray[np.uint64]


class LedgerWrite(msgspec.Struct, frozen=True, gc=False):
    """One user's change: ``expected`` is the revision read (empty: none), then header + tail, or the whole value.

    Attributes:
        expected: first 16 bytes read.
        is_append: write ``head`` over the header and append ``tail``; else ``head`` is the whole value, or nothing
            when the ledger stays as it is and must only be the one read, as all events were found to be repeats.
    """

    expected: bytes
    is_append: bool
    head: bytes
    tail: bytes


@dataclass(frozen=True, slots=True, eq=False)
class FoldedBatch:
    """What a batch does: a write for each user with an event, in the order of ``users``.

    Attributes:
        users: indexes of the users written or, where all was a repeat, compared.
        writes: their changes.
        applied: which events were applied (the others are repeats), bool, one an event.
    """

    users: list[int]
    writes: list[LedgerWrite]
    applied: NDArray[np.bool_]


def fold_batch(
    batch: EventBatch,
    stored: Sequence[StoredLedger | None],
    first_revs: NDArray[np.uint64],
    topic: int,
    partition: int,
    items: EmbeddedItems,
) -> FoldedBatch:
    """Return the writes that apply a batch.

    Args:
        batch: the events.
        stored: what was read of each user, None for one without a ledger.
        first_revs: a random number below 2^32 of each user: the revision before the first, or how much more than 1 the
            revision grows. A store that lost its newest writes cannot give two ledgers the same one.
        topic: hash of the topic's id.
        partition: the partition.
        items: item vectors, the same for the whole batch.

    Raises:
        LedgerError: a stored value cannot be read.
    """
    new_events = np.bincount(batch.users, minlength=len(stored)).tolist()
    headers, rewritten = _read(stored, new_events, first_revs, items)
    applied = _find_first_occurrences(batch, stored, headers)
    users, records, offsets = batch.users[applied], batch.records[applied], batch.offsets[applied]
    order = np.argsort(users, kind="stable")
    users, records, offsets = users[order], records[order], offsets[order]
    changed, starts, counts = np.unique(users, return_index=True, return_counts=True)
    rows = items.rows(records["item"])
    _fold_means(headers, records, rows, changed, starts, counts, items)
    headers["offset"][changed] = offsets[starts + counts - 1]
    headers["topic"][changed], headers["partition"][changed] = topic, partition
    is_known = np.array([known is not None for known in stored], np.uint64)
    headers["rev"][changed] += np.uint64(1) + first_revs[changed] * is_known[changed]
    headers["t"][changed] += counts.astype(np.uint64)
    headers["unembedded"][changed] += np.add.reduceat(rows < 0, starts).astype(np.uint32) if len(starts) else 0
    ends = (starts + counts).tolist()
    bodies = {}
    for user, start, end in zip(changed.tolist(), starts.tolist(), ends, strict=True):
        if user in rewritten:
            base, tail = rewritten[user]
            tail = np.concatenate([tail, records[start:end]])
            base, tail = fold_tail(base, tail, int(headers["t"][user]))
            headers["base"][user] = len(base)
            bodies[user] = base.tobytes() + tail.tobytes()
    written = changed.tolist()
    writes = _writes(stored, headers, records, written, zip(starts.tolist(), ends, strict=True), bodies)
    for user in sorted(set(batch.users.tolist()).difference(written)):
        known = stored[user]
        written.append(user)
        writes.append(LedgerWrite(known.value[:PREFIX_BYTES] if known is not None else b"", False, b"", b""))
    return FoldedBatch(written, writes, applied)


def _writes(
    stored: Sequence[StoredLedger | None],
    headers: Records,
    records: Records,
    changed: Sequence[int],
    spans: Iterable[tuple[int, int]],
    bodies: Mapping[int, bytes],
) -> list[LedgerWrite]:
    """Return the write of each changed user: ``bodies`` has what follows the header where that is new altogether."""
    size, heads, events = headers.itemsize, headers.tobytes(), records.tobytes()
    writes = []
    for user, (start, end) in zip(changed, spans, strict=True):
        head, added = heads[user * size : (user + 1) * size], events[start * EVENT.itemsize : end * EVENT.itemsize]
        known = stored[user]
        expected = known.value[:PREFIX_BYTES] if known is not None else b""
        if user in bodies:
            writes.append(LedgerWrite(expected, False, head + bodies[user], b""))
        elif known is None or known.is_whole:
            body = memoryview(known.value)[size:] if known is not None else b""
            writes.append(LedgerWrite(expected, False, b"".join((head, body, added)), b""))
        else:
            writes.append(LedgerWrite(expected, True, head, added))
    return writes


def _read(
    stored: Sequence[StoredLedger | None],
    new_events: Sequence[int],
    first_revs: NDArray[np.uint64],
    items: EmbeddedItems,
) -> tuple[Records, dict[int, tuple[Records, Records]]]:
    """Return the headers, and base and tail of those users whose entries or mean must be made anew."""
    dtype = header_dtype(items.dim)
    headers = np.zeros(len(stored), dtype)
    headers["version"], headers["layout"], headers["dim"] = VERSION, LAYOUT, items.dim
    headers["embedding"] = int.from_bytes(items.embedding_id, "little")
    headers["rev"] = first_revs
    kind = headers[:1].tobytes()[:4] if len(stored) else b""
    known = {i: each for i, each in enumerate(stored) if each is not None}
    values = {i: each.value for i, each in known.items()}
    current = [
        i
        for i, value in values.items()
        if value[:4] == kind and value[48:56] == items.embedding_id and len(value) >= dtype.itemsize
    ]
    headers[current] = np.frombuffer(b"".join([values[i][: dtype.itemsize] for i in current]), dtype)
    rewritten: dict[int, tuple[Records, Records]] = {}
    for i in set(values) - set(current):
        rewritten[i] = _remake(headers, i, unpack(values[i]), items)
    nothing = (np.empty(0, ENTRY), np.empty(0, EVENT))
    rewritten |= {i: nothing for i, new in enumerate(new_events) if i not in values and new > TAIL_MAX}
    for i, base in zip(current, headers["base"][current].tolist(), strict=True):
        if not _can_be_extended(known[i], base, new_events[i], dtype.itemsize):
            ledger = unpack(values[i])
            rewritten[i] = ledger.base, ledger.tail
            if ledger.unembedded:
                _remake(headers, i, ledger, items)
    return headers, rewritten


def _can_be_extended(known: StoredLedger, base: int, new_events: int, size: int) -> bool:
    """Return whether new events may follow what is stored; ``size`` is the header's."""
    if not known.is_whole:
        return True
    tail, rest = divmod(len(known.value) - size - base * ENTRY.itemsize, EVENT.itemsize)
    return tail >= 0 and not rest and tail + new_events <= most_in_tail(base)


def _remake(headers: Records, user: int, ledger: Ledger, items: EmbeddedItems) -> tuple[Records, Records]:
    """Make a header's mean from the entries; return base and tail."""
    rated = entries(ledger)
    mean, unembedded = mean_of_entries(rated, ledger.t, items.rows(rated["item"]), items.vectors)
    headers["rev"][user], headers["t"][user] = ledger.rev, ledger.t
    headers["mean"][user], headers["unembedded"][user] = mean, unembedded
    return ledger.base, ledger.tail


def _find_first_occurrences(
    batch: EventBatch, stored: Sequence[StoredLedger | None], headers: Records
) -> NDArray[np.bool_]:
    """Return which events are no repeat of an event id in their user's window, the batch's own events included."""
    applied = np.ones(len(batch.users), np.bool_)
    if not batch.records["event"].any():
        return applied
    windows: dict[int, list[int]] = {}
    ts = headers["t"].tolist()
    for i, (user, event) in enumerate(zip(batch.users.tolist(), batch.records["event"].tolist(), strict=True)):
        known = windows.get(user)
        if known is None:
            known = windows[user] = _window_of(stored[user], ts[user])
        if event and event in known:
            applied[i] = False
            continue
        known.append(event)
        ts[user] += 1
        del known[: -window(ts[user])]
    return applied


def _window_of(known: StoredLedger | None, t: int) -> list[int]:
    """Return the event ids that the next event may be a repeat of, oldest first."""
    if known is None:
        return []
    if known.value[:2] != WRITTEN:
        older: list[int] = unpack(known.value).tail["event"][-window(t) :].tolist()
        return older
    start = FIXED_BYTES + 8 * int.from_bytes(known.value[2:4], "little")
    if known.is_whole:
        start += ENTRY.itemsize * int.from_bytes(known.value[4:8], "little")
    ids: list[int] = np.frombuffer(known.value, EVENT, offset=start)["event"][-window(t) :].tolist()
    return ids


def _fold_means(
    headers: Records,
    records: Records,
    rows: NDArray[np.int64],
    changed: NDArray[np.int64],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    items: EmbeddedItems,
) -> None:
    means = headers["mean"][changed]
    ts = headers["t"][changed].astype(np.float64)
    ratings = records["rating"] / RATING_QUANTUM
    for j in range(int(counts.max(initial=0))):
        live = np.flatnonzero(counts > j)
        event = starts[live] + j
        row = rows[event]
        r_x = ratings[event, None] * items.vectors[row] if len(items.vectors) else np.zeros((len(live), items.dim))
        r_x[row < 0] = 0.0
        t = ts[live, None]
        means[live] = t / (t + 1) * means[live] + 1 / (t + 1) * r_x
        ts[live] += 1
    headers["mean"][changed] = means
