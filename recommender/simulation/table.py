"""The state of a block's users between two steps."""

from dataclasses import dataclass

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.novelty import UNSEEN_LAST_T
from recommender.simulation.people import Block
from schemas.codec import RATING_QUANTUM

NO_RATING = np.iinfo(np.int64).min
"""Below every rating: what stands where there is none to be the best of."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Some items of each user: M columns of a block with what the user did with them so far.

    Attributes:
        vectors: shape [D, B, M].
        counts: N, shape [B, M].
        last_t: L, 1 for unseen items, shape [B, M].
        ratings: in units of 1/10000, shape [B, M].
        others_counts: ratings by others, shape [B, M].
        others_sums: their sums in units of 1/10000, shape [B, M].
    """

    vectors: Floats
    counts: Integers
    last_t: Integers
    ratings: Integers
    others_counts: Integers
    others_sums: Integers


class Table:
    """What each user of a block did so far. The one thing here that changes: copying it would be most of a step.

    Args:
        block: the users.
        repeats: whether an item may be chosen again.

    Attributes:
        block: the users.
        repeats: whether an item may be chosen again.
        t: steps done.
        theta: the users' mean features, as the policy keeps them, shape [B, D].
        counts: N of each candidate, shape [B, C].
        last_t: L of each, shape [B, C].
        is_open: whether it may be chosen, shape [B, C].
        n_open: how many may be, shape [B].
        unseen_ratings: in units of 1/10000, :data:`NO_RATING` for what was chosen before and padding, shape [B, C].
        total_count: ratings of all items by others and by the user so far, shape [B].
        total_sum: their sum in units of 1/10000, shape [B].
    """

    def __init__(self, block: Block, *, repeats: bool) -> None:
        self.block = block
        self.repeats = repeats
        self.t = 0
        self.theta: Floats = np.zeros((len(block.users), len(block.vectors)))
        self.counts: Integers = np.zeros(block.rows.shape, dtype=np.int64)
        self.last_t: Integers = np.full(block.rows.shape, UNSEEN_LAST_T, dtype=np.int64)
        self.is_open: Flags = block.is_candidate.copy()
        self.n_open: Integers = block.is_candidate.sum(axis=1)
        self.unseen_ratings: Integers = np.where(block.is_candidate, block.ratings, NO_RATING)
        self.total_count: Integers = block.others_total_count.copy()
        self.total_sum: Integers = block.others_total_sum.copy()

    @property
    def cells(self) -> Cells:
        """All candidates, M = C."""
        block = self.block
        return Cells(block.vectors, self.counts, self.last_t, block.ratings, block.others_counts, block.others_sums)

    def cells_at(self, picks: Integers) -> Cells:
        """Return one candidate of each user, M = 1.

        Args:
            picks: columns of the block, shape [B].
        """
        block, column = self.block, (np.arange(len(picks))[:, np.newaxis], picks[:, np.newaxis])
        return Cells(
            block.vectors[:, *column],
            self.counts[column],
            self.last_t[column],
            block.ratings[column],
            block.others_counts[column],
            block.others_sums[column],
        )

    def ratings_at(self, picks: Integers) -> Floats:
        """Return the users' ratings of one candidate each, shape [B]."""
        return np.asarray(self.block.ratings[np.arange(len(picks)), picks] / RATING_QUANTUM)

    def vectors_at(self, picks: Integers) -> Floats:
        """Return the vectors of one candidate of each user, shape [B, D]."""
        return np.ascontiguousarray(self.block.vectors[:, np.arange(len(picks)), picks].T)

    def global_means(self, prior: float) -> Floats:
        """Return the mean of all ratings as each user sees them, shape [B]; ``prior`` where there are none."""
        some = np.maximum(self.total_count, 1)
        return np.where(self.total_count > 0, self.total_sum / (RATING_QUANTUM * some), prior)

    def mark(self, picks: Integers, plays: Flags) -> None:
        """Take in what was chosen: N, L, and what is still open; theta is the policy's.

        Args:
            picks: columns of the block, shape [B].
            plays: which users chose, shape [B].
        """
        users = np.flatnonzero(plays)
        chosen = users, picks[users]
        self.counts[chosen] += 1
        self.last_t[chosen] = self.t
        self.unseen_ratings[chosen] = NO_RATING
        self.total_count[users] += 1
        self.total_sum[users] += self.block.ratings[chosen]
        if not self.repeats:
            self.is_open[chosen] = False
            self.n_open[users] -= 1
        self.t += 1
