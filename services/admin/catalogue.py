"""The catalogue as the ``items`` topic has it: read whole, and published to."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from recommender.hashing import hash_id
from schemas.codec import decode_item, encode
from schemas.errors import CatalogueError, EventError
from schemas.events import Item
from services.admin.bus import OnProgress, open_admin, produce_all
from streams.bus.compacted import CompactedReader
from streams.bus.topics import require_topic
from streams.items import ItemTable, RecordPlace
from streams.settings import Settings

READ_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class TopicCatalogue:
    """What the topic says.

    Attributes:
        items: the listed items in catalogue order (offset of what was said last, then item_id).
        withdrawn: ids whose last value is null.
        refused: records that are no items, and items whose hash is another's.
    """

    items: tuple[Item, ...]
    withdrawn: frozenset[str]
    refused: int

    @property
    def item_ids(self) -> list[str]:
        """Every id the topic knows, the withdrawn ones included: histories may hold them."""
        return [*(item.item_id for item in self.items), *sorted(self.withdrawn)]


def read_catalogue(settings: Settings, timeout_s: float = READ_TIMEOUT_S) -> TopicCatalogue:
    """Return the catalogue as the topic has it now.

    Raises:
        ConfigurationError: no broker answers, or the topic does not exist.
        StreamrecError: the topic was not read to its end in time.
    """
    table = ItemTable()
    refused = 0

    def take(records: list[Any]) -> None:
        nonlocal refused
        for record in records:
            try:
                table.apply(RecordPlace(record.partition, record.offset, record.timestamp), record.key, record.value)
            except EventError:
                refused += 1

    read_compacted(settings, settings.topic("items"), take, timeout_s)
    entries, colliding = table.entries()
    entries.sort(key=lambda entry: (entry.offset, entry.item.item_id))
    return TopicCatalogue(
        items=tuple(entry.item for entry in entries if entry.listed),
        withdrawn=frozenset(entry.item.item_id for entry in entries if not entry.listed),
        refused=refused + len(colliding),
    )


def read_compacted(
    settings: Settings, topic: str, take: Callable[[list[Any]], None], timeout_s: float = READ_TIMEOUT_S
) -> None:
    """Hand over every record of a compacted topic, each partition in order.

    Raises:
        ConfigurationError: no broker answers, or the topic does not exist.
        StreamrecError: the topic was not read to its end in time.
    """
    with open_admin(settings) as admin:
        reader = CompactedReader(settings, admin, topic, take)
        reader.start()
        try:
            reader.wait_until_caught_up(timeout_s)
        finally:
            reader.stop()


def publish_items(settings: Settings, items: Iterable[Item], on_progress: OnProgress | None = None) -> int:
    """Publish items and return how many, once the broker has acknowledged each.

    Everything is checked before the first one is sent. An id that comes twice, or that the topic already has, is
    described anew.

    Raises:
        CatalogueError: two ids, here or on the topic, share a hash.
        EventError: an item breaks the contract.
        ConfigurationError: no broker answers, or the topic does not exist.
        StreamrecError: the broker did not take an item; publishing again is safe.
    """
    items = list(items)
    topic = settings.topic("items")
    values = [_checked_value(item) for item in items]
    with open_admin(settings) as admin:
        require_topic(admin, topic)
    known = read_catalogue(settings).item_ids
    refuse_collisions([*known, *(item.item_id for item in items)])
    records = ((item.item_id.encode(), value) for item, value in zip(items, values, strict=True))
    return len(produce_all(settings, topic, records, on_progress))


def refuse_collisions(item_ids: Iterable[str], hash_of: Callable[[str], int] = hash_id) -> None:
    """Refuse ids of which two have one hash: a ledger could not tell them apart.

    Raises:
        CatalogueError: naming both ids; the later one is refused.
    """
    owners: dict[int, str] = {}
    for item_id in item_ids:
        number = hash_of(item_id)
        owner = owners.setdefault(number, item_id)
        if owner != item_id:
            raise CatalogueError(
                f"item {item_id!r} is refused: its hash {number} is that of {owner!r}; give one of them another id"
            )


def _checked_value(item: Item) -> bytes:
    value = encode(item)
    decode_item(value)
    return value
