"""What the records of ``items`` say, as a table: the newest record of each item."""

from dataclasses import dataclass, replace

from recommender.catalogue import CatalogueEntry
from recommender.hashing import hash_id
from schemas.codec import decode_item, normalise_id
from schemas.errors import EventError
from schemas.events import Item


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where a record of a compacted topic lies, and its timestamp."""

    partition: int
    offset: int
    timestamp_ms: int

    def is_newer(self, other: "RecordPlace") -> bool:
        """Return whether a record read later replaces the one at ``other``.

        A partition is read in order. Producers may disagree on partitioning; between partitions the timestamps decide,
        so that readers agree whatever order they read the partitions in.
        """
        if self.partition == other.partition:
            return self.offset > other.offset
        return (self.timestamp_ms, self.partition) > (other.timestamp_ms, other.partition)


class ItemTable:
    """Takes records in, gives catalogue entries out."""

    def __init__(self) -> None:
        self._entries: dict[str, CatalogueEntry] = {}
        self._places: dict[str, RecordPlace] = {}
        self._first_of_hash: dict[int, str] = {}
        self._sharing: dict[int, set[str]] = {}
        self._changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def apply(self, place: RecordPlace, key: bytes | None, value: bytes | None) -> None:
        """Take a record in. A null value withdraws the item of its key, which stays known but is listed no more.

        Raises:
            EventError: the record breaks the contract; nothing changed.
        """
        item = _read_key(key) if value is None else decode_item(value)
        item_id = item.item_id
        known = self._entries.get(item_id)
        if known is None:
            self._join(item_id)
        elif not place.is_newer(self._places[item_id]):
            return
        self._places[item_id] = place
        self._changed.add(item_id)
        if value is not None:
            self._entries[item_id] = CatalogueEntry(item, place.offset)
        elif known is not None:
            self._entries[item_id] = replace(known, offset=place.offset, listed=False)
        else:
            self._entries[item_id] = CatalogueEntry(item, place.offset, listed=False)

    def take_changes(self) -> list[CatalogueEntry] | None:
        """Return the entries that changed since the last call; None where they are not all that there is to say.

        That is so while several ids share a hash: then a change may let another one in.
        """
        changed, self._changed = self._changed, set()
        return None if self._sharing else [self._entries[item_id] for item_id in changed]

    def entries(self) -> tuple[list[CatalogueEntry], dict[str, str]]:
        """Return the entries, no two of one hash, and the ids refused with the id that each collides with.

        Of colliding ids the first in catalogue order stays, so all readers of the same records refuse the same.
        """
        refused: dict[str, str] = {}
        for item_ids in self._sharing.values():
            kept = min(item_ids, key=lambda item_id: (self._entries[item_id].offset, item_id))
            refused |= dict.fromkeys(item_ids - {kept}, kept)
        if not refused:
            return list(self._entries.values()), refused
        return [entry for item_id, entry in self._entries.items() if item_id not in refused], refused

    def _join(self, item_id: str) -> None:
        number = hash_id(item_id)
        first = self._first_of_hash.setdefault(number, item_id)
        if first != item_id:
            self._sharing.setdefault(number, {first}).add(item_id)


def _read_key(key: bytes | None) -> Item:
    if key is None:
        raise EventError("missing_field", "a record without a value needs the item_id as its key, got none")
    try:
        return Item(item_id=normalise_id(key.decode(), "key"))
    except UnicodeDecodeError as error:
        raise EventError("not_utf8", f"the key must be UTF-8, byte {error.start} is not") from None
