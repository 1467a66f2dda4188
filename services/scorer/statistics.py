"""The item statistics on the rows of the live catalogue, changed where they changed."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from recommender.catalogue import Catalogue
from recommender.statistics import StatisticsView


class Followed(Protocol):
    """What is used of a :class:`streams.store.statistics.StatisticsFollower`."""

    counts: dict[int, int]
    sums: dict[int, int]

    def take_changed(self) -> set[int]:
        """Return the item hashes that changed since the last call."""
        ...


class AlignedStatistics:
    """Keeps a :class:`~recommender.statistics.StatisticsView` of what is followed.

    Args:
        followed: counts and sums by item hash.
    """

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self._catalogue: Catalogue | None = None
        self._outside: dict[int, tuple[int, int]] = {}
        self._view = StatisticsView.empty(0)

    def view(self, catalogue: Catalogue) -> StatisticsView:
        """Return the statistics as followed so far, on the rows of ``catalogue``."""
        changed = self._followed.take_changed()
        if catalogue is not self._catalogue:
            self._align(catalogue)
        elif changed:
            self._change(catalogue, changed)
        return self._view

    def _align(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._view, self._outside = StatisticsView.empty(catalogue.size), {}
        self._change(catalogue, self._followed.counts)

    def _change(self, catalogue: Catalogue, changed: "set[int] | Mapping[int, int]") -> None:
        hashes = np.fromiter(changed, np.uint64, len(changed))
        new_counts = np.fromiter((self._followed.counts.get(item, 0) for item in changed), np.int64, len(changed))
        new_sums = np.fromiter((self._followed.sums.get(item, 0) for item in changed), np.int64, len(changed))
        rows = catalogue.rows_of_hashes(hashes)
        known = rows >= 0
        counts, sums = self._view.counts.copy(), self._view.sums.copy()
        total_count = self._view.total_count + int(new_counts.sum() - counts[rows[known]].sum())
        total_sum = self._view.total_sum + int(new_sums.sum() - sums[rows[known]].sum())
        counts[rows[known]], sums[rows[known]] = new_counts[known], new_sums[known]
        for at in np.flatnonzero(~known).tolist():
            before = self._outside.get(int(hashes[at]), (0, 0))
            self._outside[int(hashes[at])] = (int(new_counts[at]), int(new_sums[at]))
            total_count -= before[0]
            total_sum -= before[1]
        self._view = StatisticsView(counts, sums, total_count, total_sum)
