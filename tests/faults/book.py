"""What was published and acknowledged, kept apart from everything streamrec remembers."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

USERS = 60
SHARED_USERS = 6
ITEMS = 80
UNKNOWN_ITEMS = 3
QUANTUM = 10_000

BAD = (
    (b"\xff\xfe", "not_utf8"),
    (b'{"v":1,', "not_json"),
    (b"", "empty_value"),
    (b'{"v":1,"item_id":"i1","rating":3}', "missing_field"),
    (b'{"v":1,"user_id":"u1","item_id":"i1","rating":"much"}', "wrong_type"),
    (b'{"v":1,"user_id":"u1","item_id":"i1","rating":7.5}', "rating_out_of_range"),
    (b'{"v":9,"user_id":"u1","item_id":"i1","rating":3}', "unknown_version"),
)


@dataclass(frozen=True, slots=True)
class Message:
    """One record: the bytes, and what they must lead to; ``reason`` is set when it must be dead-lettered."""

    partition: int
    value: bytes
    user_id: str = ""
    item_id: str = ""
    rating: int = 0
    event_id: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class Book:
    """Every acknowledged record by partition and offset."""

    records: dict[int, dict[int, Message]] = field(default_factory=dict)

    def note(self, offset: int, message: Message) -> None:
        known = self.records.setdefault(message.partition, {}).setdefault(offset, message)
        assert known is message, f"the broker acknowledged offset {offset} of partition {message.partition} twice"

    @property
    def size(self) -> int:
        return sum(map(len, self.records.values()))

    def ends(self) -> dict[int, int]:
        """The offset after the newest acknowledged record of each partition."""
        return {partition: max(records) + 1 for partition, records in self.records.items()}

    def bad(self) -> dict[tuple[int, int], Message]:
        return {
            (partition, offset): message
            for partition, records in self.records.items()
            for offset, message in records.items()
            if message.reason is not None
        }

    def user_events(self) -> dict[str, list[tuple[int, int, Message]]]:
        """The valid ratings of each user as (partition, offset, message), each partition in order."""
        found: dict[str, list[tuple[int, int, Message]]] = {}
        for partition in sorted(self.records):
            for offset in sorted(self.records[partition]):
                message = self.records[partition][offset]
                if message.reason is None:
                    found.setdefault(message.user_id, []).append((partition, offset, message))
        return found


def draw_messages(draws: random.Random, count: int, partitions: int, shared: float = 0.1) -> Iterator[Message]:
    """Yield records: ratings, some with event ids and some of these repeated at once, and bad ones.

    Args:
        draws: the randomness.
        count: how many.
        partitions: of the topic.
        shared: the share of users whose ratings go to any partition; the others keep to one.
    """
    held: list[Message] = []
    for number in range(count):
        if held and draws.random() < 0.5:
            yield held.pop()
            continue
        if draws.random() < 0.02:
            value, reason = draws.choice(BAD)
            yield Message(draws.randrange(partitions), value, reason=reason)
            continue
        message = _draw_rating(draws, number, partitions, shared)
        if message.event_id is not None and draws.random() < 0.3:
            held.append(message)
        yield message


def _draw_rating(draws: random.Random, number: int, partitions: int, shared: float) -> Message:
    item = draws.randrange(ITEMS + UNKNOWN_ITEMS)
    rating = draws.randrange(5_000, 50_001)
    if draws.random() < shared:
        user, partition, event_id = f"shared{draws.randrange(SHARED_USERS)}", draws.randrange(partitions), None
    else:
        which = draws.randrange(USERS)
        user, partition = f"u{which}", which % partitions
        event_id = f"{draws.randrange(1 << 60):x}-{number}" if draws.random() < 0.15 else None
    fields = {"v": 1, "user_id": user, "item_id": f"i{item + 1}", "rating": rating / QUANTUM}
    if event_id is not None:
        fields["event_id"] = event_id
    return Message(partition, json.dumps(fields).encode(), user, fields["item_id"], rating, event_id)
