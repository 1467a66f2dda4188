"""The ledgers a worker read or wrote lately, so that a batch of people it knows needs no reading.

Nothing here is trusted: the guarded commit compares the revision of every ledger it writes, and how many forget events
the shard has applied, with what the fold went out from, and refuses what is old.
"""

from collections.abc import Iterable, Sequence

from recommender.ledger.batch import EmbeddedItems, LedgerWrite, StoredLedger
from recommender.ledger.layout import ENTRY, EVENT, PREFIX_BYTES, TAIL_MAX, WRITTEN, header_dtype, most_in_tail

_ABSENT = StoredLedger(b"", is_whole=True)
"""Stands for a user without a ledger: not to be folded from, but what is written first is kept."""

_CONTESTED = StoredLedger(b"", is_whole=True)
"""Stands for a user whom another worker writes, too: read each time."""

_NEWEST_BYTES = TAIL_MAX * EVENT.itemsize
_OVERHEAD_BYTES = 300


class LedgerCache:
    """Ledgers of one shard's users, those of the newest reads and writes, up to a number of bytes.

    There are two halves: when the newer one is full, it becomes the older one, and what was there is dropped.

    Args:
        most_bytes: how much may be kept; 0 keeps nothing.
        whole_bytes: a ledger this long is kept as header and newest events.

    Attributes:
        forgets: how many forget events the shard had applied when these ledgers were read, None for not known.
    """

    def __init__(self, most_bytes: int, whole_bytes: int) -> None:
        self.forgets: bytes | None = None
        self._most_bytes = most_bytes
        self._whole_bytes = whole_bytes
        self._newer: dict[str, StoredLedger] = {}
        self._older: dict[str, StoredLedger] = {}
        self._newer_bytes = 0

    def find(
        self, user_ids: Sequence[str], new_events: Sequence[int], items: EmbeddedItems
    ) -> list[StoredLedger | None]:
        """Return what a fold with so many new events a user can go out from, None where it must be read."""
        dim = items.dim.to_bytes(2, "little")
        newer, older = self._newer, self._older
        found: list[StoredLedger | None] = []
        for user_id, events in zip(user_ids, new_events, strict=True):
            known = newer.get(user_id) or older.get(user_id)
            if known is None or not known.value:
                known = None
            elif not known.is_whole:
                value = known.value
                most = most_in_tail(int.from_bytes(value[4:8], "little"))
                if value[2:4] != dim or value[48:56] != items.embedding_id or known.tail + events > most:
                    known = None
            found.append(known)
        return found

    def see_forgets(self, number: bytes) -> None:
        """Take in how many forget events the shard has applied; another number drops all that is kept."""
        if self.forgets != number:
            self.clear()
        self.forgets = number

    def add(self, user_id: str, ledger: StoredLedger | None) -> None:
        """Keep what was read; not of a user whom others write, too."""
        if self._get(user_id) is not _CONTESTED:
            self._put(user_id, _ABSENT if ledger is None else self._shortened(ledger))

    def written(self, user_ids: Sequence[str], writes: Sequence[LedgerWrite]) -> None:
        """Take in what was written, where it follows what is kept."""
        newer, older = self._newer, self._older
        for user_id, write in zip(user_ids, writes, strict=True):
            before = newer.get(user_id)
            known = before if before is not None else older.get(user_id)
            head = write.head
            if known is None or known is _CONTESTED or not head:
                continue
            value = known.value
            if value[:PREFIX_BYTES] != write.expected:
                self._drop(user_id)
                continue
            if write.is_append:
                newest = (value[len(head) :] + write.tail)[-_NEWEST_BYTES:]
                ledger = StoredLedger(head + newest, False, known.tail + len(write.tail) // EVENT.itemsize)
            elif len(head) < self._whole_bytes:
                ledger = StoredLedger(head, True)
            else:
                ledger = self._shortened(StoredLedger(head, True))
            newer[user_id] = ledger
            if before is not None:
                self._newer_bytes += len(ledger.value) - len(value)
            else:
                self._newer_bytes += len(user_id) + len(ledger.value) + _OVERHEAD_BYTES
        self._turn_over()

    def drop(self, user_ids: Iterable[str]) -> None:
        """Drop ledgers that may have been written or not."""
        for user_id in user_ids:
            self._drop(user_id)

    def conflict(self, user_ids: Sequence[str], writes: Sequence[LedgerWrite], indexes: Iterable[int]) -> None:
        """Take in that the ledgers with these numbers are not what was to be written over."""
        for index in indexes:
            known = self._get(user_ids[index])
            if known is not None and known.value[:PREFIX_BYTES] == writes[index].expected:
                self._put(user_ids[index], _CONTESTED)

    def clear(self) -> None:
        """Drop everything."""
        self._newer, self._older, self._newer_bytes, self.forgets = {}, {}, 0, None

    def _shortened(self, ledger: StoredLedger) -> StoredLedger:
        value = ledger.value
        if not ledger.is_whole or len(value) < self._whole_bytes or value[:2] != WRITTEN:
            return ledger
        size = header_dtype(int.from_bytes(value[2:4], "little")).itemsize
        first = size + ENTRY.itemsize * int.from_bytes(value[4:8], "little")
        newest = value[max(first, len(value) - _NEWEST_BYTES) :]
        return StoredLedger(value[:size] + newest, False, (len(value) - first) // EVENT.itemsize)

    def _get(self, user_id: str) -> StoredLedger | None:
        return self._newer.get(user_id) or self._older.get(user_id)

    def _put(self, user_id: str, ledger: StoredLedger) -> None:
        if not self._most_bytes:
            return
        before = self._newer.get(user_id)
        self._newer[user_id] = ledger
        if before is None:
            self._newer_bytes += len(user_id) + len(ledger.value) + _OVERHEAD_BYTES
        else:
            self._newer_bytes += len(ledger.value) - len(before.value)
        self._turn_over()

    def _turn_over(self) -> None:
        if 2 * self._newer_bytes > self._most_bytes:
            self._newer, self._older, self._newer_bytes = {}, self._newer, 0

    def _drop(self, user_id: str) -> None:
        self._older.pop(user_id, None)
        known = self._newer.pop(user_id, None)
        if known is not None:
            self._newer_bytes -= len(user_id) + len(known.value) + _OVERHEAD_BYTES
