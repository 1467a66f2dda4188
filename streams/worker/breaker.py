"""The dead-letter breaker: a sliding window over a partition's events that opens when too many of them are bad.

A deploy that takes good events for bad ones would move a whole topic into its dead letters, one batch after the other.
The window is asked before the dead letters of a batch are sent, so the batch that opens it sends none.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Self

import msgspec
import numpy as np

WINDOW_EVENTS = 1000
LEAST_EVENTS = 100
MOST_BAD_PERCENT = 20


@dataclass(frozen=True, slots=True)
class Window:
    """The newest events of one partition, at most 1,000.

    Attributes:
        next_offset: events below it were counted; met again after a seek back, they are not counted twice.
        reasons: for each event, oldest first, why it is bad; None for a good one.
    """

    next_offset: int = 0
    reasons: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Trip:
    """What opened the breaker.

    Attributes:
        offset: of the event after which too many were bad.
        events: events in the window then.
        reasons: how many of them were bad, by reason, the commonest first.
    """

    offset: int
    events: int
    reasons: dict[str, int]

    @property
    def bad(self) -> int:
        """How many of the events were bad."""
        return sum(self.reasons.values())

    def __str__(self) -> str:
        """Return the numbers as part of a sentence."""
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.reasons.items())
        return f"{self.bad} of the last {self.events} events up to offset {self.offset} break the contract ({reasons})"


class BreakerMark(msgspec.Struct, frozen=True):
    """What the store keeps of one partition's breaker.

    Attributes:
        is_open: no worker starts on the partition.
        until: events below it do not count any more once the breaker is closed.
        why: what opened it.
    """

    is_open: bool
    until: int
    why: str

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Return the mark of a stored value."""
        return msgspec.json.decode(value, type=cls)

    def to_bytes(self) -> bytes:
        """Return the value to store."""
        return msgspec.json.encode(self)


def observe(window: Window, offsets: Sequence[int], bad: Mapping[int, str]) -> tuple[Window, Trip | None]:
    """Return the window after a batch, and at which of its events, if any, too many were bad first.

    Open: bad > 20 % of the newest min(1000, seen) events, where seen >= 100, after any event of the batch.

    Args:
        window: the window before.
        offsets: of the batch's records, ascending.
        bad: the reason of each bad record, by offset.

    >>> observe(Window(), range(99), {offset: "not_json" for offset in range(99)})[1] is None
    True
    >>> str(observe(Window(), range(100), {offset: "not_json" for offset in range(21)})[1])
    '21 of the last 100 events up to offset 99 break the contract (not_json 21)'
    """
    first = bisect_left(offsets, window.next_offset)
    count = len(offsets) - first
    if not count:
        return window, None
    new = map(bad.get, offsets[first:]) if bad else repeat(None, min(count, WINDOW_EVENTS))
    reasons = (*window.reasons, *new)
    after = Window(offsets[-1] + 1, reasons[-WINDOW_EVENTS:])
    if not any(reasons):
        return after, None
    is_bad = np.array([reason is not None for reason in reasons])
    totals = np.concatenate([[0], np.cumsum(is_bad)])
    ends = np.arange(len(window.reasons) + 1, len(reasons) + 1)
    begins = np.maximum(0, ends - WINDOW_EVENTS)
    events = ends - begins
    too_many = (events >= LEAST_EVENTS) & ((totals[ends] - totals[begins]) * 100 > MOST_BAD_PERCENT * events)
    if not too_many.any():
        return after, None
    at = int(too_many.argmax())
    found = Counter(reason for reason in reasons[begins[at] : ends[at]] if reason is not None)
    return after, Trip(offsets[first + at], int(events[at]), dict(found.most_common()))
