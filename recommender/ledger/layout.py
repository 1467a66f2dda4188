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

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from schemas.errors import LedgerError

VERSION = 1
LAYOUT = 1
PREFIX_BYTES = 16
FIXED_BYTES = 56
TAIL_MAX = 64
TAIL_KEEP = 32
EMPTY_EMBEDDING = bytes(8)
_NO_OFFSET = 2**64 - 1

ENTRY = np.dtype([("item", "<u8"), ("count", "<u4"), ("last_t", "<u4"), ("rating_sum", "<i8")])
EVENT = np.dtype([("item", "<u8"), ("rating", "<i4"), ("event", "<u8")])

Records = NDArray[np.void]
Vector = NDArray[np.float64]


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


def check_version(value: bytes) -> None:
    """Refuse bytes that are no ledger of this version.

    Raises:
        LedgerError: naming the numbers.
    """
    if len(value) < FIXED_BYTES:
        raise LedgerError(f"a ledger has at least {FIXED_BYTES} bytes, got {len(value)}")
    if value[0] != VERSION or value[1] != LAYOUT:
        raise LedgerError(f"ledger version must be {VERSION}.{LAYOUT}, got {value[0]}.{value[1]}")


def unpack(value: bytes) -> Ledger:
    """Return the ledger of stored bytes; arrays are read-only views of them.

    Raises:
        LedgerError: another version, or a length that does not fit the header.
    """
    check_version(value)
    dim = int.from_bytes(value[2:4], "little")
    dtype = header_dtype(dim)
    size = dtype.itemsize
    base_bytes = int.from_bytes(value[4:8], "little") * ENTRY.itemsize
    tail_bytes = len(value) - size - base_bytes
    if tail_bytes < 0 or tail_bytes % EVENT.itemsize:
        raise LedgerError(f"{len(value)} bytes do not fit a ledger of D {dim} and {base_bytes} bytes of entries")
    header = np.frombuffer(value, dtype, 1)[0]
    offset = int(header["offset"])
    return Ledger(
        rev=int(header["rev"]),
        t=int(header["t"]),
        last=None if offset == _NO_OFFSET else LastEvent(int(header["topic"]), int(header["partition"]), offset),
        embedding_id=value[48:56],
        unembedded=int(header["unembedded"]),
        mean=header["mean"],
        base=np.frombuffer(value, ENTRY, offset=size, count=base_bytes // ENTRY.itemsize),
        tail=np.frombuffer(value, EVENT, offset=size + base_bytes, count=tail_bytes // EVENT.itemsize),
    )


def fold_events(base: Records, events: Records, first_t: int) -> Records:
    """Return entries with events added; event j is the user's rating number ``first_t + j``.

    Args:
        base: :data:`ENTRY`, sorted by item.
        events: :data:`EVENT`, oldest first.
        first_t: the t of ``events[0]``.
    """
    if not len(events):
        return base
    added = np.empty(len(events), ENTRY)
    added["item"], added["count"], added["rating_sum"] = events["item"], 1, events["rating"]
    added["last_t"] = np.arange(first_t, first_t + len(events))
    both = np.concatenate([base, added])
    both = both[np.argsort(both["item"], kind="stable")]
    starts = np.flatnonzero(np.concatenate([[True], both["item"][1:] != both["item"][:-1]]))
    merged = np.empty(len(starts), ENTRY)
    merged["item"] = both["item"][starts]
    merged["count"] = np.add.reduceat(both["count"], starts)
    merged["last_t"] = np.maximum.reduceat(both["last_t"], starts)
    merged["rating_sum"] = np.add.reduceat(both["rating_sum"], starts)
    return merged


def entries(ledger: Ledger) -> Records:
    """Return what the user rated, base and tail together, :data:`ENTRY`, sorted by item.

    ``last_t`` is the number of the user's ratings before the newest one of that item.
    """
    return fold_events(ledger.base, ledger.tail, ledger.t - len(ledger.tail))


def kept_in_tail(tail: int, added: int) -> int:
    """Return how many events stay in the tail when ``added`` come one by one to a tail of ``tail``.

    Whenever the tail passes 64 events, all but the newest 32 move to the base.

    >>> kept_in_tail(0, 64), kept_in_tail(64, 1), kept_in_tail(0, 98)
    (64, 32, 32)
    """
    total = tail + added
    if total <= TAIL_MAX:
        return total
    return TAIL_KEEP + (total - TAIL_MAX - 1) % (TAIL_MAX - TAIL_KEEP + 1)
