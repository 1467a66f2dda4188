"""A user as the policies see one: the mean feature and the items rated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recommender.arrays import Floats, Integers, Records, join_records, read_only
from recommender.catalogue import Catalogue
from schemas.codec import RATING_QUANTUM


def update_mean(mean: Floats, n: int, x: Floats) -> Floats:
    """Return the mean of n + 1 samples, given the mean of the first n and the next one.

    mean' = n/(n + 1) mean + 1/(n + 1) x

    Args:
        mean: mean of the first ``n`` samples, shape [D], float64.
        n: number of samples in ``mean``; 0 for none yet.
        x: next sample, shape [D].

    Raises:
        ValueError: if ``n`` is negative or the shapes differ.

    >>> update_mean(np.array([2.0]), 1, np.array([4.0]))
    array([3.])
    """
    if n < 0:
        raise ValueError(f"n must be at least 0, got {n}")
    if mean.shape != x.shape:
        raise ValueError(f"mean and x must have the same shape [D], got {mean.shape}, {x.shape}")
    return n / (n + 1) * mean + 1 / (n + 1) * x


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A user's ledger on a catalogue. Made by :func:`build_profile`.

    Attributes:
        user_id: the user.
        t: rating events applied so far, those of items outside the catalogue included.
        theta: iterative mean of r x over them, shape [D].
        rows: catalogue rows of the rated items, withdrawn ones included, distinct, shape [S].
        counts: ratings of each, shape [S].
        last_t: 0-based index of the newest rating of each, shape [S].
        sums: sum of the ratings of each in units of 1/10000, shape [S].
        tail: the newest of the t events one by one, oldest first: ``item``, ``rating`` in units of 1/10000; None where
            only what they add up to is known.
    """

    user_id: str
    t: int
    theta: Floats
    rows: Integers
    counts: Integers
    last_t: Integers
    sums: Integers
    tail: Records | None = None

    def places_of(self, rows: Integers, size: int) -> Integers:
        """Return the place in the profile's columns of each catalogue row, -1 where not rated.

        Args:
            rows: catalogue rows to look up, shape [M].
            size: N of the catalogue.
        """
        if not len(self.rows):
            return np.full(len(rows), -1, dtype=np.int64)
        if _SPARSE * len(rows) >= size:
            table = np.full(size, -1, dtype=np.int64)
            table[self.rows] = np.arange(len(self.rows))
            return table[rows]
        order = np.argsort(self.rows)
        places = order[np.minimum(np.searchsorted(self.rows, rows, sorter=order), len(order) - 1)]
        return np.where(self.rows[places] == rows, places, -1)


_SPARSE = 4
"""One request's rows are looked up one by one when they are less than a quarter of the catalogue."""


@dataclass(frozen=True, slots=True, eq=False)
class Rated:
    """What a ledger says of a user.

    Attributes:
        user_id: the user.
        t: the ledger's t.
        mean: the ledger's mean, shape [D], when it was made with the catalogue's vectors; None to recompute it as
            sum_i rating_sum_i x_i / t.
        entries: base and tail merged: ``item``, ``count``, ``last_t``, ``rating_sum``.
        tail: the ledger's newest events, ``item`` and ``rating``, oldest first; None where they are not known.
    """

    user_id: str
    t: int
    mean: Floats | None
    entries: Records
    tail: Records | None = None


def build_profile(user_id: str, ledger_t: int, mean: Floats | None, entries: Records, catalogue: Catalogue) -> Profile:
    """Return the profile of one user; see :func:`build_profiles`.

    Raises:
        ValueError: if ``mean`` does not have shape [D].
    """
    return build_profiles([Rated(user_id, ledger_t, mean, entries)], catalogue)[0]


def build_profiles(users: Sequence[Rated], catalogue: Catalogue) -> list[Profile]:
    """Return the profiles of users; items outside the catalogue are left out. Each depends on its own ledger alone.

    Args:
        users: their ledgers.
        catalogue: the items and their vectors.

    Raises:
        ValueError: if a mean does not have shape [D].
    """
    if not users:
        return []
    together = join_records([user.entries for user in users], users[0].entries.dtype)
    ends = np.cumsum([len(user.entries) for user in users])
    rows = catalogue.rows_of_hashes(together["item"])
    known = rows >= 0
    if not known.all():
        together, rows = together[known], rows[known]
        ends = np.concatenate(([0], np.cumsum(known)))[ends]
    rows = read_only(rows)
    counts, last_t, sums = (read_only(together[name].astype(np.int64)) for name in ("count", "last_t", "rating_sum"))
    profiles = []
    start = 0
    for user, end in zip(users, ends.tolist(), strict=True):
        own = slice(start, end)
        theta = read_only(_mean_of(user, rows[own], sums[own], catalogue))
        profiles.append(Profile(user.user_id, user.t, theta, rows[own], counts[own], last_t[own], sums[own], user.tail))
        start = end
    return profiles


def _mean_of(user: Rated, rows: Integers, sums: Integers, catalogue: Catalogue) -> Floats:
    if user.mean is None:
        return weigh_vectors(sums / RATING_QUANTUM, catalogue.vectors[rows]) / max(user.t, 1)
    if user.mean.shape != (catalogue.dim,):
        raise ValueError(f"mean must have shape [{catalogue.dim}], got {user.mean.shape}")
    return np.asarray(user.mean, dtype=np.float64)


def weigh_vectors(weights: Floats, vectors: Floats) -> Floats:
    """Return sum_j w_j x_j, shape [D]; the same bits for the same rows in the same order, on every machine.

    Args:
        weights: shape [S].
        vectors: shape [S, D].

    >>> weigh_vectors(np.array([2.0, 1.0]), np.array([[1.0, 0.0], [1.0, 3.0]]))
    array([3., 3.])
    """
    return np.asarray((weights[:, np.newaxis] * vectors).sum(axis=0))
