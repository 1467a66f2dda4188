"""A partition of the log in memory, driven by hand."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import OffsetOutOfRangeError

from schemas.codec import encode
from schemas.events import RatingEvent


@dataclass
class MemoryRecord:
    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def rating(offset: int, user: str = "u", item: str = "i", stars: float = 4.0, event_id: str | None = None):
    value = encode(RatingEvent(user_id=user, item_id=item, rating=stars, event_id=event_id))
    return MemoryRecord(offset, value, user.encode())


@dataclass
class MemoryLog:
    """What the runner asks of a partition. ``end_offset`` may lie behind the last record: a hole."""

    records: list[MemoryRecord] = field(default_factory=list)
    start_offset: int = 0
    end_offset: int = 0
    committed_offset: int | None = None
    partition: int = 0
    topic: str = "ratings"
    applied: int | None = None
    watermark: int | None = None
    moved_s: float = 0.0
    claimed: asyncio.Event = field(default_factory=asyncio.Event)
    read_from: int = 0
    seeks: list[int] = field(default_factory=list)
    rejoins: int = 0
    fetch_errors: list[Exception] = field(default_factory=list)

    def add(self, *records: MemoryRecord) -> None:
        self.records += records
        self.end_offset = max(self.end_offset, records[-1].offset + 1)

    async def start(self) -> int:
        return self.start_offset

    async def end(self) -> int:
        return self.end_offset

    async def reaches(self, offset: int) -> bool:
        return max(self.end_offset, *(record.offset + 1 for record in self.records)) >= offset

    async def committed(self) -> int | None:
        return self.committed_offset

    async def offset_at(self, start_ms: int) -> int:
        return next((record.offset for record in self.records if record.timestamp >= start_ms), self.end_offset)

    async def seek(self, offset: int) -> None:
        self.seeks.append(offset)
        self.read_from = offset

    async def fetch(self, max_records: int, timeout_s: float) -> list[Any]:  # noqa: ARG002 - the port's signature
        await asyncio.sleep(0)
        if self.fetch_errors:
            raise self.fetch_errors.pop(0)
        if self.read_from < self.start_offset:
            raise OffsetOutOfRangeError({})
        found = [record for record in self.records if record.offset >= self.read_from][:max_records]
        self.read_from = found[-1].offset + 1 if found else max(self.read_from, self.end_offset)
        return found

    async def position(self) -> int:
        return self.read_from

    async def rejoin(self) -> None:
        self.rejoins += 1
