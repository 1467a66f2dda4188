"""What a load test plays: a log of ratings as bytes, and the items it speaks of."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from recommender.arrays import Floats
from schemas.codec import RatingDecoder, encode
from schemas.events import Item, RatingEvent

Triple = tuple[str, str, float]
"""user_id, item_id and rating."""


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Events in the order in which they are due.

    Attributes:
        name: what it is called.
        keys: user id of each event, as the record's key.
        values: the record of each event.
        items: to publish before the run.
        ts_ms: when each event was given; None where that is not known of all.
        bad: the events that must come out as dead letters: the reason by number.
        new_items: to publish during the run: before which event, and what.
        is_bursty: whether it comes in bursts.
    """

    name: str
    keys: Sequence[bytes]
    values: Sequence[bytes]
    items: Sequence[Item] = ()
    ts_ms: Floats | None = None
    bad: Mapping[int, str] = field(default_factory=dict)
    new_items: Sequence[tuple[int, Item]] = ()
    is_bursty: bool = False

    def __len__(self) -> int:
        """How many events there are."""
        return len(self.values)

    def turn(self, first: int, count: int) -> "Load":
        """Return ``count`` events from number ``first`` on, beginning anew where they end, without new items.

        >>> load_of("two", [RatingEvent(user_id=u, item_id="i", rating=1.0) for u in "ab"]).turn(1, 3).keys
        [b'b', b'a', b'b']
        """
        chosen = [number % len(self) for number in range(first, first + count)]
        return Load(
            self.name,
            [self.keys[number] for number in chosen],
            [self.values[number] for number in chosen],
            bad={place: self.bad[number] for place, number in enumerate(chosen) if number in self.bad},
            is_bursty=self.is_bursty,
        )

    def triples(self, decoder: RatingDecoder, without: Iterable[int] = ()) -> Iterator[Triple]:
        """Yield what the state must come to: the events that are not bad, but for some."""
        left_out = {*self.bad, *without}
        for number, value in enumerate(self.values):
            if number not in left_out:
                event = decoder.decode(value)
                yield str(event.user_id), str(event.item_id), event.rating


def load_of(name: str, events: Iterable[RatingEvent], items: Sequence[Item] = (), limit: int | None = None) -> Load:
    """Return the load of a log of ratings, at most ``limit`` of them."""
    keys, values, times = [], [], []
    for event in islice(events, limit):
        keys.append(str(event.user_id).encode())
        values.append(encode(event))
        times.append(np.nan if event.ts_ms is None else event.ts_ms)
    ts_ms = np.array(times, dtype=np.float64)
    return Load(name, keys, values, items, None if np.isnan(ts_ms).any() else ts_ms)
