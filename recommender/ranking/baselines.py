"""Baselines of next-item ranking: popularity, and item-to-item weights applied to what the user rated lately."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.ranking.log import Moments, Past, RatingLog

TIE_WEIGHT = 1e-9
"""What popularity counts beside item-to-item weights: it decides where they say nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class MostPopular:
    """The number of ratings: of all users before the cut, or, live, before the moment.

    Attributes:
        counts: ratings of each item before the cut, shape [N]; None for live.
    """

    counts: Integers | None = None

    def scores(self, moments: Moments) -> Floats:
        """Return the scores; see :class:`recommender.ranking.next_item.Ranker`."""
        if self.counts is None:
            return moments.counts.astype(np.float64)
        return np.tile(self.counts.astype(np.float64), (len(moments.pasts), 1))


@dataclass(frozen=True, slots=True, eq=False)
class ItemToItem:
    """A sum of weights from what the user rated, newer ratings counting more.

    score(i) = sum_j 2^(-age_j / half_life) W[j, i] + blend log(1 + count_i) + 1e-9 count_i

    age_j is how many ratings ago the user rated j, 0 for the newest; the counts are those before the cut.

    Attributes:
        weights: W, shape [N, N], diagonal zero.
        counts: ratings of each item before the cut, shape [N].
        half_life: in ratings of the user; None for no decay.
        blend: what the log of popularity counts.
    """

    weights: Floats
    counts: Integers
    half_life: float | None = None
    blend: float = 0.0

    def scores(self, moments: Moments) -> Floats:
        """Return the scores; see :class:`recommender.ranking.next_item.Ranker`."""
        histories = decayed_histories(moments.pasts, len(self.counts), self.half_life)
        always = self.blend * np.log1p(self.counts) + TIE_WEIGHT * self.counts
        return np.asarray(histories @ self.weights + always)


def decayed_histories(pasts: Sequence[Past], size: int, half_life: float | None) -> Floats:
    """Return 2^(-age / half_life) at the rows each user rated, 0 elsewhere, shape [B, N]."""
    histories = np.zeros((len(pasts), size))
    for own, past in zip(histories, pasts, strict=True):
        own[past.rows] = 1.0 if half_life is None else 2.0 ** (-past.ages / half_life)
    return histories


def item_counts(log: RatingLog) -> Integers:
    """Return how often each item was rated, shape [N]."""
    return np.bincount(log.rows, minlength=log.size)


def together(log: RatingLog) -> Floats:
    """Return how many users rated both of two items, shape [N, N]; on the diagonal, one item."""
    rated = np.zeros((len(log.user_ids), log.size), dtype=np.float32)
    rated[log.users, log.rows] = 1.0
    return np.asarray(rated.T @ rated, dtype=np.float64)


def knn_weights(pairs: Floats, *, shrinkage: float, neighbours: int) -> Floats:
    """Return the cosine of items as sets of users, shrunk, of each item's nearest neighbours only.

    W[j, i] = c_ji / (sqrt(c_jj c_ii) + shrinkage), zero unless j is among the ``neighbours`` nearest of i.
    Sarwar et al. 2001, doi:10.1145/371920.372071.

    Args:
        pairs: of :func:`together`, shape [N, N].
        shrinkage: at least 0; what few common users are worth less by.
        neighbours: how many of an item's weights are kept.
    """
    sizes = np.sqrt(np.diag(pairs))
    divisor = np.outer(sizes, sizes) + shrinkage
    weights = np.divide(pairs, divisor, out=np.zeros(pairs.shape), where=divisor > 0)
    np.fill_diagonal(weights, 0.0)
    if neighbours < len(weights):
        least = np.partition(weights, -neighbours, axis=0)[-neighbours]
        weights[weights < least] = 0.0
    return weights


def ease_weights(pairs: Floats, *, ridge: float) -> Floats:
    """Return the item-to-item weights of EASE: the ridge regression of each item on all others.

    P = (G + ridge I)^-1, W[j, i] = -P_ji / P_ii, W[i, i] = 0. Steck 2019, doi:10.1145/3308558.3313710.

    Args:
        pairs: G, of :func:`together`, shape [N, N].
        ridge: positive.
    """
    precision = np.linalg.inv(pairs + ridge * np.eye(len(pairs)))
    weights = precision / -np.diag(precision)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def markov_weights(log: RatingLog, *, decay: float, smoothing: float, reach: int = 32) -> Floats:
    """Return first-order transitions, each user's pairs counting less the further they lie apart.

    W[j, i] = sum over pairs (j at s, i at t > s of one user) decay^(t - s - 1) / (sum over i + smoothing)

    Args:
        log: the events to count.
        decay: in [0, 1); 0 counts neighbours only.
        smoothing: what rare items are worth less by.
        reach: pairs further apart are not counted.
    """
    order = np.argsort(log.users, kind="stable")
    users, rows = log.users[order], log.rows[order]
    counts = np.zeros(log.size * log.size)
    for gap in range(1, reach + 1):
        weight = decay ** (gap - 1)
        if weight < TIE_WEIGHT:
            break
        same = users[gap:] == users[:-gap]
        pairs = rows[:-gap][same] * log.size + rows[gap:][same]
        counts += weight * np.bincount(pairs, minlength=len(counts))
    weights = counts.reshape(log.size, log.size)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights / (weights.sum(axis=1, keepdims=True) + smoothing))
