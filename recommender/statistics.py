"""What all users together say of each item: counts and quantised rating sums."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from recommender.arrays import Floats, Hashes, Integers, read_only
from recommender.catalogue import Catalogue
from schemas.codec import RATING_QUANTUM


@dataclass(frozen=True, slots=True, eq=False)
class StatisticsView:
    """Item statistics aligned with a catalogue's rows.

    Attributes:
        counts: ratings of each item by all users, shape [N].
        sums: their sum in units of 1/10000, shape [N].
        total_count: ratings of all items, those outside the catalogue included.
        total_sum: their sum in units of 1/10000.
    """

    counts: Integers
    sums: Integers
    total_count: int
    total_sum: int
    _means: dict[tuple[float, float], Floats] = field(default_factory=dict, init=False, repr=False)
    _derived: dict[Callable[["StatisticsView"], Floats], Floats] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _check_columns(self.counts, self.sums)
        object.__setattr__(self, "counts", read_only(self.counts))
        object.__setattr__(self, "sums", read_only(self.sums))

    @classmethod
    def empty(cls, size: int) -> "StatisticsView":
        """Return the view in which nobody rated any of ``size`` items."""
        return cls(np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64), 0, 0)

    def means(self, k0: float, prior: float) -> Floats:
        """Return :func:`shrunk_means`, computed once for each (k0, prior) of this view."""
        key = (k0, prior)
        if key not in self._means:
            self._means[key] = read_only(shrunk_means(self, k0, prior=prior))
        return self._means[key]

    def derived(self, make: Callable[["StatisticsView"], Floats]) -> Floats:
        """Return what ``make`` makes of this view, an array of shape [N] to be read only; made once."""
        if make not in self._derived:
            self._derived[make] = read_only(make(self))
        return self._derived[make]

    def global_mean(self, prior: float) -> float:
        """Return the mean of all ratings, ``prior`` when nobody rated anything."""
        return self.total_sum / (RATING_QUANTUM * self.total_count) if self.total_count > 0 else prior


@dataclass(frozen=True, slots=True, eq=False)
class ItemStatistics:
    """Item statistics keyed by item hash, whatever the catalogue.

    Attributes:
        hashes: ascending, shape [M].
        counts: ratings of each item by all users, shape [M].
        sums: their sum in units of 1/10000, shape [M].
    """

    hashes: Hashes
    counts: Integers
    sums: Integers

    def __post_init__(self) -> None:
        _check_columns(self.counts, self.sums)
        for name in ("hashes", "counts", "sums"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @classmethod
    def empty(cls) -> "ItemStatistics":
        """Return the statistics in which nobody rated anything."""
        return cls(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))

    def apply_deltas(self, hashes: Hashes, counts: Integers, sums: Integers) -> "ItemStatistics":
        """Return the statistics with ``counts`` and ``sums`` added to the items of ``hashes``.

        Args:
            hashes: in any order, repeats allowed, shape [n].
            counts: to add to each, shape [n].
            sums: to add to each, in units of 1/10000, shape [n].

        Raises:
            ValueError: if a count would become negative.
        """
        merged = self.hashes
        if not np.isin(hashes, merged).all():
            merged = np.union1d(merged, hashes)
        total_counts, total_sums = np.zeros((2, len(merged)), dtype=np.int64)
        own = np.searchsorted(merged, self.hashes)
        total_counts[own], total_sums[own] = self.counts, self.sums
        places = np.searchsorted(merged, hashes)
        np.add.at(total_counts, places, counts)
        np.add.at(total_sums, places, sums)
        return ItemStatistics(merged, total_counts, total_sums)

    def view(self, catalogue: Catalogue) -> StatisticsView:
        """Return the statistics aligned with a catalogue's rows; the totals stay those of all items."""
        rows = catalogue.rows_of_hashes(self.hashes)
        known = rows >= 0
        counts, sums = np.zeros((2, catalogue.size), dtype=np.int64)
        counts[rows[known]], sums[rows[known]] = self.counts[known], self.sums[known]
        return StatisticsView(counts, sums, int(self.counts.sum()), int(self.sums.sum()))


def apply_deltas(view: StatisticsView, rows: Integers, counts: Integers, sums: Integers) -> StatisticsView:
    """Return the view with ``counts`` and ``sums`` added at ``rows``.

    Args:
        view: the view before.
        rows: catalogue rows, repeats allowed, shape [n]; -1 for an item outside the catalogue, which counts in the
            totals.
        counts: to add to each, shape [n].
        sums: to add to each, in units of 1/10000, shape [n].

    Raises:
        ValueError: if a count would become negative.

    >>> after = apply_deltas(StatisticsView.empty(2), np.array([1, 1, -1]), np.array([1, 1, 1]), np.array([4, 2, 9]))
    >>> after.counts, after.sums, after.total_count, after.total_sum
    (array([0, 2]), array([0, 6]), 3, 15)
    """
    known = rows >= 0
    new_counts, new_sums = view.counts.copy(), view.sums.copy()
    np.add.at(new_counts, rows[known], counts[known])
    np.add.at(new_sums, rows[known], sums[known])
    return StatisticsView(new_counts, new_sums, view.total_count + int(counts.sum()), view.total_sum + int(sums.sum()))


def shrunk_means(view: StatisticsView, k0: float = 5.0, *, prior: float) -> Floats:
    """Return each item's mean rating shrunk to the global mean m.

    m_i = (sum_i + k0 m)/(count_i + k0)

    Args:
        view: item statistics.
        k0: how many ratings the global mean counts for; positive.
        prior: what stands for m when nobody rated anything, the middle of the rating scale.

    Returns:
        Shape [N], in rating units.

    >>> shrunk_means(StatisticsView(np.array([5, 0]), np.array([200_000, 0]), 10, 300_000), prior=2.75)
    array([3.5, 3. ])
    """
    return shrink(view.counts, view.sums, k0, view.global_mean(prior))


def means_of_others(
    view: StatisticsView, rows: Integers, own_counts: Integers, own_sums: Integers, k0: float, *, prior: float
) -> Floats:
    """Return the shrunk means at ``rows`` without one user's part of the items' counts and sums.

    m itself stays that of all users. Statistics may lag behind a ledger; where they hold no more ratings of an item
    than the user alone gave, nobody else is known to have rated it and its mean is m.

    Args:
        view: item statistics.
        rows: catalogue rows of the items the user rated, shape [S].
        own_counts: the user's ratings of each, shape [S].
        own_sums: their sums in units of 1/10000, shape [S].
        k0: as in :func:`shrunk_means`.
        prior: as in :func:`shrunk_means`.

    >>> view = StatisticsView(np.array([6]), np.array([250_000]), 10, 300_000)
    >>> means_of_others(view, np.array([0]), np.array([1]), np.array([50_000]), 5.0, prior=2.75)
    array([3.5])
    """
    counts = np.maximum(view.counts[rows] - own_counts, 0)
    sums = np.where(counts > 0, view.sums[rows] - own_sums, 0)
    return shrink(counts, sums, k0, view.global_mean(prior))


def shrink(counts: Integers, sums: Integers, k0: float, m: Floats | float) -> Floats:
    """Return (sums + k0 m)/(counts + k0), ``sums`` in units of 1/10000; shapes broadcast."""
    return np.asarray((sums / RATING_QUANTUM + k0 * m) / (counts + k0))


def _check_columns(counts: Integers, sums: Integers) -> None:
    if counts.ndim != 1 or counts.shape != sums.shape:
        raise ValueError(f"counts and sums must have the same shape [N], got {counts.shape}, {sums.shape}")
    if (counts < 0).any():
        row = int(np.argmin(counts))
        raise ValueError(f"counts must be at least 0, got {counts[row]} at {row}")
