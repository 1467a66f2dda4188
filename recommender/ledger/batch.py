"""The fold of a batch of events into the ledgers of its users: the worker's hot path.

Every user's events are applied in offset order; round j applies the j-th event of each user at once, with the same
floating-point operations as :func:`recommender.ledger.fold.apply_event`, so both give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.ledger.fold import mean_of_entries
from recommender.ledger.layout import (
    ENTRY,
    EVENT,
    LAYOUT,
    PREFIX_BYTES,
    TAIL_KEEP,
    TAIL_MAX,
    VERSION,
    Records,
    check_version,
    entries,
    fold_events,
    header_dtype,
    kept_in_tail,
    unpack,
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


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """What was read of one user: header and tail, or the whole value when it will be rewritten."""

    value: bytes
    is_whole: bool


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


@dataclass(frozen=True, slots=True)
class LedgerWrite:
    """One user's change: ``expected`` is the revision read (empty: none), then header + tail, or the whole value.

    Attributes:
        expected: first 16 bytes read.
        is_append: write ``head`` over the header and append ``tail``; else ``head`` is the whole value.
    """

    expected: bytes
    is_append: bool
    head: bytes
    tail: bytes


@dataclass(frozen=True, slots=True, eq=False)
class FoldedBatch:
    """What a batch does: a write for each user with an applied event, in the order of ``users``.

    Attributes:
        users: indexes of the users written.
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
    headers, tails, bases = _read(stored, first_revs, items)
    applied = _find_first_occurrences(batch, tails)
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
    writes = []
    for user, start, count in zip(changed.tolist(), starts.tolist(), counts.tolist(), strict=True):
        added = records[start : start + count]
        known = stored[user]
        expected = known.value[:PREFIX_BYTES] if known is not None else b""
        if known is not None and not known.is_whole:
            writes.append(LedgerWrite(expected, True, headers[user].tobytes(), added.tobytes()))
        else:
            writes.append(LedgerWrite(expected, False, _whole(headers, user, tails, bases, added), b""))
    return FoldedBatch(changed.tolist(), writes, applied)


def _read(
    stored: Sequence[StoredLedger | None], first_revs: NDArray[np.uint64], items: EmbeddedItems
) -> tuple[Records, list[Records], dict[int, Records]]:
    dtype = header_dtype(items.dim)
    headers = np.zeros(len(stored), dtype)
    headers["version"], headers["layout"], headers["dim"] = VERSION, LAYOUT, items.dim
    headers["embedding"] = int.from_bytes(items.embedding_id, "little")
    headers["rev"] = first_revs
    tails: list[Records] = []
    bases: dict[int, Records] = {}
    nothing = np.empty(0, EVENT)
    for i, known in enumerate(stored):
        if known is None:
            tails.append(nothing)
        elif not known.is_whole:
            check_version(known.value)
            headers[i] = np.frombuffer(known.value, dtype, 1)[0]
            tails.append(np.frombuffer(known.value, EVENT, offset=dtype.itemsize))
        else:
            ledger = unpack(known.value)
            headers["rev"][i], headers["t"][i] = ledger.rev, ledger.t
            tails.append(ledger.tail)
            bases[i] = ledger.base
            if ledger.embedding_id == items.embedding_id and not ledger.unembedded:
                headers["mean"][i] = ledger.mean
            else:
                rated = entries(ledger)
                mean, unembedded = mean_of_entries(rated, ledger.t, items.rows(rated["item"]), items.vectors)
                headers["mean"][i], headers["unembedded"][i] = mean, unembedded
    return headers, tails, bases


def _find_first_occurrences(batch: EventBatch, tails: list[Records]) -> NDArray[np.bool_]:
    """Return which events are no repeat of an event id in their user's tail, the batch's own events included."""
    applied = np.ones(len(batch.users), np.bool_)
    if not batch.records["event"].any():
        return applied
    windows: dict[int, list[int]] = {}
    for i, (user, event) in enumerate(zip(batch.users.tolist(), batch.records["event"].tolist(), strict=True)):
        window = windows.get(user)
        if window is None:
            window = windows[user] = tails[user]["event"].tolist()
        if event and event in window:
            applied[i] = False
            continue
        window.append(event)
        if len(window) > TAIL_MAX:
            del window[:-TAIL_KEEP]
    return applied


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


def _whole(
    headers: Records,
    user: int,
    tails: list[Records],
    bases: dict[int, Records],
    added: Records,
) -> bytes:
    recent = np.concatenate([tails[user], added])
    keep = kept_in_tail(len(tails[user]), len(added))
    base = bases.get(user, np.empty(0, ENTRY))
    base = fold_events(base, recent[: len(recent) - keep], int(headers["t"][user]) - len(recent))
    headers["base"][user] = len(base)
    return bytes(headers[user].tobytes() + base.tobytes() + recent[len(recent) - keep :].tobytes())
