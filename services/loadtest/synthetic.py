"""A generated load: Zipf users and items, bursts, new users and items during the run, and a share of bad events."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from schemas.codec import encode
from schemas.events import MAX_RATING_BYTES, Item, RatingEvent
from services.loadtest.load import Load

PREFIX = "synthetic:"
ZIPF_USERS, ZIPF_ITEMS = 0.8, 0.9
NEW_SHARE = 0.1
BAD_SHARE = 0.01
FIRST_NEW, LAST_NEW = 0.1, 0.9
"""Between which shares of the run users and items appear that were not there before."""
MEAN_RATING, SPREAD, STEP = 3.5, 1.1, 0.5
GENRES = ("Action", "Comedy", "Crime", "Drama", "Horror", "Romance", "Sci-Fi", "Thriller")
FIRST_YEAR, LAST_YEAR = 1950, 2025

Integers = npt.NDArray[np.int64]

BAD_EVENTS: dict[str, Callable[[str, str], bytes]] = {
    "not_utf8": lambda user, item: f'{{"user_id":"{user}","item_id":"{item}","rating":4.0,"x":"'.encode() + b'\xff"}',
    "not_json": lambda user, _: f'{{"user_id":"{user}"'.encode(),
    "too_large": lambda user, item: _rating(user, item, padding=MAX_RATING_BYTES),
    "empty_value": lambda _user, _item: b"",
    "missing_field": lambda user, _: f'{{"v":1,"user_id":"{user}","rating":4.0}}'.encode(),
    "wrong_type": lambda user, item: f'{{"user_id":"{user}","item_id":"{item}","rating":"good"}}'.encode(),
    "bad_id": lambda user, _: f'{{"user_id":"{user}","item_id":"","rating":4.0}}'.encode(),
    "rating_not_finite": lambda user, item: f'{{"user_id":"{user}","item_id":"{item}","rating":1e999}}'.encode(),
    "rating_out_of_range": lambda user, item: f'{{"user_id":"{user}","item_id":"{item}","rating":-1000.0}}'.encode(),
    "unknown_version": lambda user, item: f'{{"v":9,"user_id":"{user}","item_id":"{item}","rating":4.0}}'.encode(),
}
"""By the reason they are refused for."""


def parse_sizes(source: str) -> tuple[int, int, int]:
    """Return users, items and events of ``synthetic:USERS,ITEMS,EVENTS``.

    Raises:
        ValueError: it is written otherwise, or a number is below 1.

    >>> parse_sizes("synthetic:50,100,500")
    (50, 100, 500)
    """
    parts = source.removeprefix(PREFIX).split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):  # noqa: PLR2004
        raise ValueError(f"a generated load is {PREFIX}USERS,ITEMS,EVENTS with numbers of at least 1, got {source!r}")
    users, items, events = map(int, parts)
    return users, items, events


def generate_load(
    users: int, items: int, events: int, seed: int, rating_min: float = 0.5, rating_max: float = 5.0
) -> Load:
    """Return a load, the same for the same arguments; a tenth of users and items appears during the run."""
    rng = np.random.default_rng(seed)
    user, _ = _draw(rng, users, events, ZIPF_USERS)
    item, arrival = _draw(rng, items, events, ZIPF_ITEMS)
    ratings = np.clip(np.rint(rng.normal(MEAN_RATING, SPREAD, events) / STEP) * STEP, rating_min, rating_max)
    user_ids = [f"u{number}" for number in user.tolist()]
    item_ids = [f"i{number}" for number in item.tolist()]
    bad = _choose_bad(rng, events)
    values = [
        BAD_EVENTS[bad[place]](*pair) if place in bad else _rating(*pair, rating=rating)
        for place, (pair, rating) in enumerate(zip(zip(user_ids, item_ids, strict=True), ratings.tolist(), strict=True))
    ]
    catalogue = _describe(rng, items)
    new = sorted((int(place), number) for number, place in enumerate(arrival) if place > 0)
    return Load(
        f"{PREFIX}{users},{items},{events}",
        [user_id.encode() for user_id in user_ids],
        values,
        [each for each, place in zip(catalogue, arrival, strict=True) if place == 0],
        bad=bad,
        new_items=[(place, catalogue[number]) for place, number in new],
        is_bursty=True,
    )


def _draw(rng: np.random.Generator, n: int, events: int, exponent: float) -> tuple[Integers, Integers]:
    """Return who takes part in each event, and before which event each appears, 0 for those there from the start.

    The weight of the r-th is 1/r^exponent, ranks dealt at random. A draw of one that is not there yet goes to one that
    was there from the start.
    """
    is_new = np.zeros(n, dtype=bool)
    is_new[rng.permutation(n)[: int(n * NEW_SHARE)]] = True
    arrival = np.where(is_new, rng.integers(int(events * FIRST_NEW), max(int(events * LAST_NEW), 1) + 1, n), 0)
    weights = rng.permutation(1.0 / np.arange(1, n + 1) ** exponent)
    chosen = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(events)).clip(max=n - 1)
    early = arrival[chosen] > np.arange(events)
    chosen[early] = rng.choice(np.flatnonzero(arrival == 0), int(early.sum()))
    return chosen, arrival


def _choose_bad(rng: np.random.Generator, events: int) -> dict[int, str]:
    places = rng.permutation(events)[: int(events * BAD_SHARE)].tolist()
    reasons = list(BAD_EVENTS)
    return {place: reasons[number % len(reasons)] for number, place in enumerate(places)}


def _rating(user: str, item: str, rating: float = 4.0, padding: int = 0) -> bytes:
    return encode(RatingEvent(user_id=user, item_id=item, rating=rating, event_id="x" * padding or None))


def _describe(rng: np.random.Generator, items: int) -> list[Item]:
    genres = rng.integers(len(GENRES), size=(items, 2)).tolist()
    years = rng.integers(FIRST_YEAR, LAST_YEAR + 1, size=items).tolist()
    return [
        Item(item_id=f"i{number}", title=f"Item {number}", genres=tuple({GENRES[own]: None for own in pair}), year=year)
        for number, (pair, year) in enumerate(zip(genres, years, strict=True))
    ]
