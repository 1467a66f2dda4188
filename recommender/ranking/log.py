"""A log of ratings in time order, and what each moment of it knows of its user."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recommender.arrays import Flags, Integers, read_only


@dataclass(frozen=True, slots=True, eq=False)
class RatingLog:
    """Rating events in the order in which they came.

    Attributes:
        users: number of each event's user, 0..U-1, shape [E].
        rows: catalogue row of each event's item, shape [E].
        ratings: in units of 1/10000, shape [E].
        user_ids: the users' ids, U of them.
        size: number of items in the catalogue, N.

    Raises:
        ValueError: the columns differ in length, or a user or row is out of range.
    """

    users: Integers
    rows: Integers
    ratings: Integers
    user_ids: Sequence[str]
    size: int

    def __post_init__(self) -> None:
        if not self.users.shape == self.rows.shape == self.ratings.shape:
            raise ValueError(
                f"users, rows and ratings must have the same shape [E], "
                f"got {self.users.shape}, {self.rows.shape}, {self.ratings.shape}"
            )
        for name, end in (("users", len(self.user_ids)), ("rows", self.size)):
            column = getattr(self, name)
            if len(column) and not 0 <= column.min() <= column.max() < end:
                raise ValueError(f"{name} must be in [0, {end}), got {column.min()}..{column.max()}")
            object.__setattr__(self, name, read_only(column))
        object.__setattr__(self, "ratings", read_only(self.ratings))

    def __len__(self) -> int:
        return len(self.users)

    def before(self, end: int) -> "RatingLog":
        """Return the first ``end`` events; users and items stay all."""
        return RatingLog(self.users[:end], self.rows[:end], self.ratings[:end], self.user_ids, self.size)


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What a user rated before a moment; the columns of a ledger, oldest last rating first.

    Attributes:
        user: number of the user.
        t: rating events so far.
        rows: catalogue rows, distinct, shape [S].
        counts: ratings of each, shape [S].
        last_t: 0-based index of the newest rating of each, ascending, shape [S].
        sums: sum of the ratings of each in units of 1/10000, shape [S].
    """

    user: int
    t: int
    rows: Integers
    counts: Integers
    last_t: Integers
    sums: Integers

    @property
    def ages(self) -> Integers:
        """The user's rating events since the newest rating of each, 0 for the newest of all, shape [S]."""
        return self.t - 1 - self.last_t


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Moments right before B events, and all that a policy may know there.

    Attributes:
        pasts: each moment's user, B of them.
        counts: ratings of each item by all users so far, shape [B, N].
        sums: their sums in units of 1/10000, shape [B, N].
    """

    pasts: Sequence[Past]
    counts: Integers
    sums: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What came at B moments.

    Attributes:
        events: places in the log, shape [B].
        rows: catalogue rows of the items, none of them rated by its user before, shape [B].
    """

    events: Integers
    rows: Integers


def walk(log: RatingLog, cut: int, batch: int = 256, stride: int = 1) -> Iterator[tuple[Moments, Targets]]:
    """Yield the moments before the events from ``cut`` on, in the log's order, some of them at a time.

    An event of an item that its user has rated before gives no moment: seen items are left out of what is ranked.

    Args:
        log: the events.
        cut: how many events lie before the first moment.
        batch: how many events at a time.
        stride: every how many events there is a moment.

    Raises:
        ValueError: ``batch`` or ``stride`` is below 1.
    """
    if min(batch, stride) < 1:
        raise ValueError(f"batch and stride must be at least 1, got {batch} and {stride}")
    pasts = _Histories(log)
    counts = np.bincount(log.rows[:cut], minlength=log.size)
    sums = np.bincount(log.rows[:cut], weights=log.ratings[:cut], minlength=log.size).astype(np.int64)
    for first in range(cut, len(log), batch):
        events = np.arange(first, min(first + batch, len(log)))
        new = events[pasts.is_first[events] & ((events - cut) % stride == 0)]
        steps = new - first
        added = np.zeros((len(events), log.size), dtype=np.int64)
        added[np.arange(len(events)), log.rows[events]] = 1
        before = np.cumsum(added, axis=0) - added
        rated = added * log.ratings[events][:, np.newaxis]
        rated_before = np.cumsum(rated, axis=0) - rated
        if len(new):
            known = Moments(
                [pasts.at(event) for event in new.tolist()], counts + before[steps], sums + rated_before[steps]
            )
            yield known, Targets(new, log.rows[new])
        counts, sums = counts + added.sum(axis=0), sums + rated.sum(axis=0)


def at_the_end(log: RatingLog, users: Integers) -> Moments:
    """Return the moment after the last event, for each of some users, by number; shape [B]."""
    pasts = _Histories(log)
    counts = np.bincount(log.rows, minlength=log.size)
    sums = np.bincount(log.rows, weights=log.ratings, minlength=log.size).astype(np.int64)
    shape = (len(users), log.size)
    return Moments(
        [pasts.after_all(user) for user in users.tolist()], np.broadcast_to(counts, shape), np.broadcast_to(sums, shape)
    )


class _Histories:
    """Every user's events, in order, to be cut where a moment is."""

    def __init__(self, log: RatingLog) -> None:
        self._log = log
        order = np.argsort(log.users, kind="stable")
        self._order = order
        self._starts = np.searchsorted(log.users[order], np.arange(len(log.user_ids) + 1))
        self._place = np.empty(len(log), dtype=np.int64)
        self._place[order] = np.arange(len(log))
        self.is_first = _first_of_their_pair(log)

    def at(self, event: int) -> Past:
        user = int(self._log.users[event])
        return self._past(user, self._order[self._starts[user] : self._place[event]])

    def after_all(self, user: int) -> Past:
        return self._past(user, self._order[self._starts[user] : self._starts[user + 1]])

    def _past(self, user: int, own: Integers) -> Past:
        rows, ratings, t = self._log.rows[own], self._log.ratings[own], len(own)
        if self.is_first[own].all():
            return Past(user, t, rows, np.ones(t, dtype=np.int64), np.arange(t), ratings)
        distinct, places, counts = np.unique(rows, return_inverse=True, return_counts=True)
        last_t = np.zeros(len(distinct), dtype=np.int64)
        np.maximum.at(last_t, places, np.arange(t))
        sums = np.zeros(len(distinct), dtype=np.int64)
        np.add.at(sums, places, ratings)
        order = np.argsort(last_t)
        return Past(user, t, distinct[order], counts[order], last_t[order], sums[order])


def _first_of_their_pair(log: RatingLog) -> Flags:
    """Return whether each event is the first of its user and item, shape [E]."""
    _, firsts = np.unique(log.users * log.size + log.rows, return_index=True)
    is_first = np.zeros(len(log), dtype=np.bool_)
    is_first[firsts] = True
    return is_first
