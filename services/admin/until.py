"""A moment of the log, as people name it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from schemas.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Until:
    """Which records had been said by then; the one at the offset itself is among them.

    Attributes:
        offset: the last offset that counts; None when a time is given.
        partition: the only partition that counts; None for all.
        time_ms: the first record time that does not count any more, in ms since 1970.
    """

    offset: int | None = None
    partition: int | None = None
    time_ms: int | None = None

    def __str__(self) -> str:
        """Return the moment as :func:`parse_until` takes it.

        >>> str(Until(offset=88, partition=2)), str(Until(time_ms=60000))
        ('2:88', '1970-01-01T00:01:00+00:00')
        """
        if self.time_ms is not None:
            return datetime.fromtimestamp(self.time_ms / 1000, UTC).isoformat()
        return f"{self.offset}" if self.partition is None else f"{self.partition}:{self.offset}"

    def check(self, partitions: Collection[int]) -> None:
        """Refuse a partition that the log does not have.

        Raises:
            ConfigurationError: naming it.
        """
        if self.partition is not None and self.partition not in partitions:
            raise ConfigurationError(f"partition must be in 0..{len(partitions) - 1}, got {self.partition}")

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return the offset to stop reading before, for those of ``partitions`` that have one."""
        if self.offset is None:
            return {}
        return {p: self.offset + 1 if self.partition in (None, p) else 0 for p in partitions}

    def includes(self, record: Any) -> bool:
        """Return whether a record read up to :meth:`ends` counts."""
        return self.time_ms is None or record.timestamp < self.time_ms


def parse_until(text: str) -> Until:
    """Return the moment that a text names: ``OFFSET``, ``PARTITION:OFFSET`` or an ISO time, in UTC without a zone.

    Raises:
        ValueError: it names none.

    >>> parse_until("88"), parse_until("2:88")
    (Until(offset=88, partition=None, time_ms=None), Until(offset=88, partition=2, time_ms=None))
    >>> parse_until("1970-01-01T00:01").time_ms
    60000
    """
    *partition, offset = text.split(":", 1)
    if offset.isdecimal() and all(part.isdecimal() for part in partition):
        return Until(offset=int(offset), partition=int(partition[0]) if partition else None)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"a moment must be OFFSET, PARTITION:OFFSET or a time as 2026-01-31T12:00, got {text!r}"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Until(time_ms=int(moment.timestamp() * 1000))
