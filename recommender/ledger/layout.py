"""The ledger as a value and as bytes.

One string a user, little-endian::

    header  version u8, layout u8, D u16, base length u32, rev u64,
            t u64, last event applied (topic id hash u64, offset u64, partition u32), unembedded u32,
            embedding id (8 bytes), mean f64[D]
    base    entries sorted by item: item u64, count u32, last_t u32, rating_sum i64
    tail    newest events, oldest first: item u64, rating i32, event-id hash u64 (0: none given)

The first 16 bytes (to ``rev``) identify a revision; the guarded commit compares them. ``unembedded`` counts the rated
events whose item had no vector when the mean was made: a mean with any is not to be trusted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import join_records
from schemas.errors import LedgerError

VERSION = 1
LAYOUT = 1
WRITTEN = bytes((VERSION, LAYOUT))
"""The first two bytes of every ledger that is written."""
PREFIX_BYTES = 16
FIXED_BYTES = 56
TAIL_MAX = 64
TAIL_KEEP = 32
ENTRIES_AN_EVENT = 16
EMPTY_EMBEDDING = bytes(8)
MOST_SORTED = 1024
"""Ledgers of more entries are merged one by one: their base is sorted already."""
_NO_OFFSET = 2**64 - 1
_unpack_fixed = Struct("<4xIQQQQII8s").unpack_from

ENTRY = np.dtype([("item", "<u8"), ("count", "<u4"), ("last_t", "<u4"), ("rating_sum", "<i8")])
EVENT = np.dtype([("item", "<u8"), ("rating", "<i4"), ("event", "<u8")])

Records = NDArray[np.void]
Vector = NDArray[np.float64]
NO_ENTRIES: Records = np.empty(0, ENTRY)


@cache
def header_dtype(dim: int) -> np.dtype[np.void]:
    """Return the packed dtype of a header whose mean has ``dim`` numbers."""
    return np.dtype(
        [
            ("version", "u1"),
            ("layout", "u1"),
            ("dim", "<u2"),
            ("base", "<u4"),
            ("rev", "<u8"),
            ("t", "<u8"),
            ("topic", "<u8"),
            ("offset", "<u8"),
            ("partition", "<u4"),
            ("unembedded", "<u4"),
            ("embedding", "<u8"),
            ("mean", "<f8", (dim,)),
        ]
    )


@dataclass(frozen=True, slots=True)
class LastEvent:
    """Where the newest event applied to a user lies in the log; ``topic`` is the xxh64 of the topic's id."""

    topic: int
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """What one user rated.

    Attributes:
        rev: grows with every write by a random step, starts at random.
        t: number of rating events applied.
        last: the newest event applied, None for a user without any.
        embedding_id: 8 bytes naming the release the mean was made with.
        unembedded: events whose item had no vector when the mean was made.
        mean: iterative mean of r x, shape [D].
        base: folded entries, :data:`ENTRY`, sorted by item.
        tail: newest events, :data:`EVENT`, oldest first; not part of the base.
    """

    rev: int
    t: int
    last: LastEvent | None
    embedding_id: bytes
    unembedded: int
    mean: Vector
    base: Records
    tail: Records

    @classmethod
    def empty(cls, dim: int, *, rev: int = 0, embedding_id: bytes = EMPTY_EMBEDDING) -> "Ledger":
        """Return the ledger of a user who rated nothing."""
        return cls(
            rev=rev,
            t=0,
            last=None,
            embedding_id=embedding_id,
            unembedded=0,
            mean=np.zeros(dim),
            base=np.empty(0, ENTRY),
            tail=np.empty(0, EVENT),
        )


def pack(ledger: Ledger) -> bytes:
    """Return the bytes of a ledger."""
    header = np.zeros(1, header_dtype(len(ledger.mean)))
    header["version"], header["layout"] = VERSION, LAYOUT
    header["dim"], header["base"] = len(ledger.mean), len(ledger.base)
    header["rev"], header["t"] = ledger.rev, ledger.t
    header["offset"] = _NO_OFFSET
    if ledger.last is not None:
        header["topic"], header["partition"] = ledger.last.topic, ledger.last.partition
        header["offset"] = ledger.last.offset
    header["unembedded"] = ledger.unembedded
    header["embedding"] = int.from_bytes(ledger.embedding_id, "little")
    header["mean"] = ledger.mean
    return header.tobytes() + ledger.base.tobytes() + ledger.tail.tobytes()


def unpack(value: bytes) -> Ledger:
    """Return the ledger of stored bytes, in any version that :data:`READERS` has.

    Raises:
        LedgerError: a version that is not known, or a length that does not fit the header.
    """
    if len(value) < FIXED_BYTES:
        raise LedgerError(f"a ledger has at least {FIXED_BYTES} bytes, got {len(value)}")
    read = READERS.get(value[:2])
    if read is None:
        known = ", ".join(f"{version}.{layout}" for version, layout in READERS)
        raise LedgerError(f"ledger version must be {known}, got {value[0]}.{value[1]}")
    return read(value)


def _unpack_written(value: bytes) -> Ledger:
    """Return the ledger of bytes as :func:`pack` writes them; arrays are read-only views of them."""
    dim = int.from_bytes(value[2:4], "little")
    size = FIXED_BYTES + 8 * dim
    base, rev, t, topic, offset, partition, unembedded, embedding_id = _unpack_fixed(value)
    base_bytes = base * ENTRY.itemsize
    tail_bytes = len(value) - size - base_bytes
    if tail_bytes < 0 or tail_bytes % EVENT.itemsize:
        raise LedgerError(f"{len(value)} bytes do not fit a ledger of D {dim} and {base_bytes} bytes of entries")
    return Ledger(
        rev=rev,
        t=t,
        last=None if offset == _NO_OFFSET else LastEvent(topic, partition, offset),
        embedding_id=embedding_id,
        unembedded=unembedded,
        mean=np.frombuffer(value, np.float64, dim, FIXED_BYTES),
        base=np.frombuffer(value, ENTRY, base, size),
        tail=np.frombuffer(value, EVENT, tail_bytes // EVENT.itemsize, size + base_bytes),
    )


READERS: dict[bytes, Callable[[bytes], Ledger]] = {WRITTEN: _unpack_written}
"""How to read a ledger, by its first two bytes.

A version is read one release before it is written, and for as long as a state may hold it: docs/adr/0018. Whatever a
version looks like, its first 16 bytes identify a revision, and it has at least as many bytes as this one's header.
"""


def fold_events(base: Records, events: Records, first_t: int) -> Records:
    """Return entries with events added; event j is the user's rating number ``first_t + j``.

    Args:
        base: :data:`ENTRY`, sorted by item.
        events: :data:`EVENT`, oldest first.
        first_t: the t of ``events[0]``.
    """
    if not len(events):
        return base
    added = _as_entries(events, first_t)
    at = np.searchsorted(base["item"], added["item"])
    is_known = np.zeros(len(added), np.bool_)
    inside = at < len(base)
    is_known[inside] = base["item"][at[inside]] == added["item"][inside]
    merged = np.insert(base, at[~is_known], added[~is_known])
    old = (at + np.cumsum(~is_known))[is_known]
    merged["count"][old] += added["count"][is_known]
    merged["last_t"][old] = np.maximum(merged["last_t"][old], added["last_t"][is_known])
    merged["rating_sum"][old] += added["rating_sum"][is_known]
    return merged


def _as_entries(events: Records, first_t: int) -> Records:
    """Return one entry an item of events, sorted by item."""
    order = np.argsort(events["item"], kind="stable")
    items = events["item"][order]
    starts = np.flatnonzero(np.concatenate([[True], items[1:] != items[:-1]]))
    merged = np.empty(len(starts), ENTRY)
    merged["item"] = items[starts]
    merged["count"] = np.diff(np.append(starts, len(items)))
    merged["last_t"] = first_t + np.maximum.reduceat(order, starts)
    merged["rating_sum"] = np.add.reduceat(events["rating"][order], starts, dtype=np.int64)
    return merged


def entries(ledger: Ledger) -> Records:
    """Return what the user rated, base and tail together, :data:`ENTRY`, sorted by item.

    ``last_t`` is the number of the user's ratings before the newest one of that item.
    """
    return fold_events(ledger.base, ledger.tail, ledger.t - len(ledger.tail))


def entries_of_all(ledgers: Sequence[Ledger]) -> list[Records]:
    """Return :func:`entries` of each ledger; many small ones are merged at once, which costs a tenth."""
    merged = [NO_ENTRIES] * len(ledgers)
    small = []
    for place, ledger in enumerate(ledgers):
        if len(ledger.base) > MOST_SORTED:
            merged[place] = entries(ledger)
        else:
            small.append(place)
    if small:
        together, starts = _merge_small([ledgers[place] for place in small])
        for place, start, end in zip(small, starts, [*starts[1:], len(together)], strict=True):
            merged[place] = together[start:end]
    return merged


def _merge_small(ledgers: Sequence[Ledger]) -> tuple[Records, list[int]]:
    """Return the entries of ledgers, one after the other, and where each one's begin."""
    base = join_records([ledger.base for ledger in ledgers], ENTRY)
    tail = join_records([ledger.tail for ledger in ledgers], EVENT)
    base_sizes = np.array([len(ledger.base) for ledger in ledgers])
    tail_sizes = np.array([len(ledger.tail) for ledger in ledgers])
    numbers = np.arange(len(ledgers), dtype=np.min_scalar_type(len(ledgers)))
    owners = np.concatenate([np.repeat(numbers, base_sizes), np.repeat(numbers, tail_sizes)])
    items = np.concatenate([base["item"], tail["item"]])
    first_t = np.array([ledger.t for ledger in ledgers]) - np.cumsum(tail_sizes)
    last_t = np.concatenate([base["last_t"], np.repeat(first_t, tail_sizes) + np.arange(len(tail))])
    counts = np.concatenate([base["count"], np.ones(len(tail), np.uint32)])
    sums = np.concatenate([base["rating_sum"], tail["rating"]])
    order = np.argsort(items)
    order = order[np.argsort(owners[order], kind="stable")]
    items, owners = items[order], owners[order]
    is_first = np.ones(len(items), np.bool_)
    is_first[1:] = (items[1:] != items[:-1]) | (owners[1:] != owners[:-1])
    starts = np.flatnonzero(is_first)
    merged = np.empty(len(starts), ENTRY)
    if len(starts):
        merged["item"] = items[starts]
        merged["count"] = np.add.reduceat(counts[order], starts)
        merged["last_t"] = np.maximum.reduceat(last_t[order], starts)
        merged["rating_sum"] = np.add.reduceat(sums[order], starts)
    return merged, np.searchsorted(owners[starts], numbers).tolist()


def window(t: int) -> int:
    """Return how many of a user's newest events the next one may be a repeat of, after ``t`` events.

    All of the first 64; with the 65th and every 33rd event after it, the window closes to 32. It depends on nothing but
    ``t``, so the same events are found to be repeats whatever was folded when.

    >>> window(64), window(65), window(97), window(98)
    (64, 32, 64, 32)
    """
    if t <= TAIL_MAX:
        return t
    return TAIL_KEEP + (t - TAIL_MAX - 1) % (TAIL_MAX - TAIL_KEEP + 1)


def most_in_tail(base: int) -> int:
    """Return how many events a tail may hold beside ``base`` entries before it is folded.

    A fold writes every entry, so the more there are, the more events share one.

    >>> most_in_tail(0), most_in_tail(1600)
    (64, 164)
    """
    return TAIL_MAX + base // ENTRIES_AN_EVENT


def fold_tail(base: Records, tail: Records, t: int) -> tuple[Records, Records]:
    """Return base and tail after events came one by one: whenever the tail is too long, all but the window is folded.

    Args:
        base: :data:`ENTRY`, sorted by item.
        tail: :data:`EVENT`, oldest first.
        t: the user's t with all of them.
    """
    while (most := most_in_tail(len(base))) < len(tail):
        later = len(tail) - most - 1
        folded = most + 1 - window(t - later)
        base = fold_events(base, tail[:folded], t - len(tail))
        tail = tail[folded:]
    return base, tail
