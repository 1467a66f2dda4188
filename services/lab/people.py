"""The people of an off-line experiment, gathered from a log of ratings."""

from collections.abc import Iterable, Sequence

import numpy as np

from recommender.arrays import Integers
from recommender.catalogue import CatalogueEntry, VectorsOf, build_catalogue
from recommender.draws import Draws
from recommender.hashing import hash_ids
from recommender.simulation.people import People
from recommender.statistics import StatisticsView
from schemas.codec import RATING_QUANTUM
from schemas.errors import DataError
from schemas.events import Item, RatingEvent


def gather_people(
    ratings: Iterable[RatingEvent], items: Iterable[Item], vectors_of: VectorsOf, *, users: int | None, seed: int
) -> People:
    """Return the users of a log with what they rated; items stand in the order of their first rating in it.

    Of a user's ratings of one item the last counts. The statistics are those of all users of the log.

    Args:
        ratings: the log.
        items: what is known of items; those without a rating are left out.
        vectors_of: gives the items their vectors.
        users: how many to take, by a seeded choice that keeps their order; None, or more than there are, for all.
        seed: of that choice.

    Raises:
        DataError: there is no rating.
    """
    item_rows: dict[str, int] = {}
    rated: dict[str, dict[int, int]] = {}
    for event in ratings:
        row = item_rows.setdefault(event.item_id, len(item_rows))
        rated.setdefault(event.user_id, {})[row] = round(event.rating * RATING_QUANTUM)
    if not rated:
        raise DataError("the log has no rating")
    known = {item.item_id: item for item in items}
    entries = [CatalogueEntry(known.get(item_id, Item(item_id=item_id)), row) for item_id, row in item_rows.items()]
    catalogue = build_catalogue(entries, vectors_of)
    user_ids = tuple(rated)
    chosen = choose_users(user_ids, users, seed)
    starts, rows, sums = _flatten([rated[user_ids[place]] for place in chosen.tolist()])
    return People(
        catalogue=catalogue,
        user_ids=tuple(user_ids[place] for place in chosen.tolist()),
        starts=starts,
        rows=rows,
        ratings=sums,
        statistics=_count(list(rated.values()), len(item_rows)),
    )


def choose_users(user_ids: Sequence[str], users: int | None, seed: int) -> Integers:
    """Return the places of the users chosen, ascending: those whose keys are lowest in a seeded random order.

    >>> few, more = (choose_users("abcdefgh", users, 7).tolist() for users in (3, 5))
    >>> len(few), len(more), set(few) <= set(more)
    (3, 5, True)
    """
    if users is None or users >= len(user_ids):
        return np.arange(len(user_ids))
    keys = Draws(seed, "", f"{seed}/users").tie_keys(hash_ids(user_ids))
    return np.sort(np.argsort(keys, kind="stable")[:users]).astype(np.int64)


def _flatten(histories: Sequence[dict[int, int]]) -> tuple[Integers, Integers, Integers]:
    """Return starts, rows and ratings of histories of rating by row."""
    starts = np.concatenate(([0], np.cumsum([len(history) for history in histories]))).astype(np.int64)
    rows, ratings = np.empty((2, starts[-1]), dtype=np.int64)
    for start, history in zip(starts.tolist(), histories, strict=False):
        ordered = sorted(history)
        rows[start : start + len(ordered)] = ordered
        ratings[start : start + len(ordered)] = [history[row] for row in ordered]
    return starts, rows, ratings


def _count(histories: Sequence[dict[int, int]], size: int) -> StatisticsView:
    _, rows, ratings = _flatten(histories)
    sums = np.zeros(size, dtype=np.int64)
    np.add.at(sums, rows, ratings)
    return StatisticsView(np.bincount(rows, minlength=size), sums, len(rows), int(ratings.sum()))
