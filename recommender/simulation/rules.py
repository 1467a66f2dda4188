"""The rules of the policies for many users at once: the same operations in the same order, so the same bits.

Each takes some cells of every user of a table and returns their scores, of shape [B, M] as the cells.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.novelty import compat_bonus, novelty, novelty_of_seen
from recommender.policies.compat import score_compat, score_ucb_compat
from recommender.policies.default import score_default, score_ucb
from recommender.policies.scores import ROUNDING_MARGIN, Rule
from recommender.policies.settings import PolicySettings
from recommender.policies.taste import HALF_TRUST_T, weigh_rows
from recommender.simulation.table import Cells, Table
from recommender.statistics import shrink
from schemas.codec import RATING_QUANTUM


@dataclass(frozen=True, slots=True, eq=False)
class BatchScores:
    """Scores of M cells of each of B users.

    Attributes:
        score: higher is better; that of padding means nothing, shape [B, M].
        relevance: what the item is worth to the user, shape [B, M].
        untried: items whose bonus is infinite, shape [B, M]; None for rules without such items.
    """

    score: Floats
    relevance: Floats
    untried: Flags | None = None


BatchRule = Callable[[Cells, Table, PolicySettings], BatchScores]
"""Cells, the users' state and parameters to scores."""


def products(theta: Floats, vectors: Floats) -> Floats:
    """Return theta . x of every cell, accumulated over d = 0..D-1 in order as the reference score is.

    Args:
        theta: shape [B, D].
        vectors: shape [D, B, M].

    >>> products(np.array([[1.0, 2.0]]), np.array([[[3.0, 0.0]], [[4.0, 1.0]]]))
    array([[11.,  2.]])
    """
    total = np.zeros(vectors.shape[1:])
    term = np.empty_like(total)
    for d, column in enumerate(vectors):
        np.multiply(column, theta[:, d, np.newaxis], out=term)
        np.add(total, term, out=total)
    return total


def batch_compat(cells: Cells, table: Table, settings: PolicySettings) -> BatchScores:
    """Return what :func:`recommender.policies.compat.score_compat` gives each user."""
    e = table.t + 1
    numbers = np.arange(e + 1)  # N and L are in 0..t, or L is 1
    relevance = products(table.theta, cells.vectors)
    score = relevance * novelty(e, numbers, settings.s)[cells.last_t]
    score += compat_bonus(e, numbers)[cells.counts]
    return BatchScores(score, relevance)


def batch_ucb_compat(cells: Cells, table: Table, settings: PolicySettings) -> BatchScores:
    """Return what :func:`recommender.policies.compat.score_ucb_compat` gives each user."""
    e = table.t + 1
    scored = batch_compat(cells, table, settings)
    untried = cells.counts == 0
    ceiling = _largest_products(table.theta, table) * ROUNDING_MARGIN
    ceiling += math.sqrt(2.0 * math.log2(e + 1.0) / e) + 1.0
    return BatchScores(np.where(untried, ceiling[:, np.newaxis], scored.score), scored.relevance, untried)


def batch_default(cells: Cells, table: Table, settings: PolicySettings) -> BatchScores:
    """Return what :func:`recommender.policies.default.score_default` gives each user."""
    relevance = _means(cells, table, settings)
    if table.t > 0:
        relevance += products(_tastes(table, settings), cells.vectors)
    return BatchScores(relevance * _default_novelty(cells, table, settings), relevance)


def batch_ucb(cells: Cells, table: Table, settings: PolicySettings) -> BatchScores:
    """Return what :func:`recommender.policies.default.score_ucb` gives each user."""
    counts = cells.others_counts + cells.counts
    untried = counts == 0
    log_t = np.array([math.log(max(total, 1)) for total in table.total_count.tolist()])
    bonus = settings.c * np.sqrt(2.0 * log_t[:, np.newaxis] / np.maximum(counts, 1))
    relevance = _means(cells, table, settings)
    lift = np.zeros(len(relevance))
    hopeful = np.flatnonzero(untried.any(axis=1))
    if len(hopeful):
        theta = _tastes(table, settings)
        if table.t > 0:
            relevance = np.where(untried, relevance + products(theta, cells.vectors), relevance)
        lift[hopeful] = _lifts(hopeful, theta, log_t, table, settings)
    score = relevance * _default_novelty(cells, table, settings)
    score += np.where(untried, lift[:, np.newaxis], bonus)
    return BatchScores(score, relevance, untried)


BATCH_RULES: dict[Rule, BatchRule] = {
    score_compat: batch_compat,
    score_ucb_compat: batch_ucb_compat,
    score_default: batch_default,
    score_ucb: batch_ucb,
}
"""The rule of one user to that of many."""


def _means(cells: Cells, table: Table, settings: PolicySettings) -> Floats:
    """Return the shrunk means of the cells' items, the users' own ratings so far included, shape [B, M]."""
    counts = cells.others_counts + cells.counts
    sums = cells.others_sums + cells.counts * cells.ratings
    return shrink(counts, sums, settings.k0, table.global_means(settings.prior)[:, np.newaxis])


def _tastes(table: Table, settings: PolicySettings) -> Floats:
    """Return :func:`recommender.policies.default.taste` of each user, shape [B, D]."""
    if table.t == 0:
        return np.zeros_like(table.theta)
    cells = table.cells
    m = table.global_means(settings.prior)[:, np.newaxis]
    means = shrink(cells.others_counts, cells.others_sums, settings.k0, m)
    surprise = cells.counts * cells.ratings / RATING_QUANTUM - cells.counts * means
    block, vectors = table.block, table.block.people.catalogue.vectors
    is_seen = np.take_along_axis(cells.counts > 0, block.by_hash, axis=1)
    weights = np.take_along_axis(surprise, block.by_hash, axis=1)[is_seen]
    rows = np.take_along_axis(block.rows, block.by_hash, axis=1)[is_seen]
    sums = weigh_rows(weights, rows, is_seen.sum(axis=1).cumsum(), vectors)
    return np.asarray(table.t / (table.t + HALF_TRUST_T) * (sums / table.t))


def _default_novelty(cells: Cells, table: Table, settings: PolicySettings) -> Floats:
    of_seen = novelty_of_seen(table.t, np.arange(table.t + 2), settings.s)
    return np.where(cells.counts > 0, of_seen[cells.last_t], 1.0)


def _lifts(users: Integers, theta: Floats, log_t: Floats, table: Table, settings: PolicySettings) -> Floats:
    """Return what the untried items of some users are raised by, shape [len(users)]."""
    extremes = np.array([_extreme_means(user, table, settings) for user in users.tolist()])
    highest_tried = extremes[:, 1] + settings.c * np.sqrt(2.0 * log_t[users])
    lowest_untried = extremes[:, 0] - _largest_products(theta, table)[users]
    return np.asarray((highest_tried - lowest_untried) * ROUNDING_MARGIN + 1.0)


def _extreme_means(user: int, table: Table, settings: PolicySettings) -> tuple[float, float]:
    """Return the lowest and the highest shrunk mean of the whole catalogue as one user sees it, 0 included."""
    block, all_ratings = table.block, table.block.people.statistics
    own = block.is_candidate[user]
    rows, ratings, counts = block.rows[user, own], block.ratings[user, own], table.counts[user, own]
    seen_counts, seen_sums = all_ratings.counts.copy(), all_ratings.sums.copy()
    seen_counts[rows] += counts - 1
    seen_sums[rows] += (counts - 1) * ratings
    means = shrink(seen_counts, seen_sums, settings.k0, table.global_means(settings.prior)[user])
    return float(means.min(initial=0.0)), float(means.max(initial=0.0))


def _largest_products(theta: Floats, table: Table) -> Floats:
    """Return a bound on abs(theta . x) over the catalogue for each user, shape [B]."""
    return np.asarray(np.abs(theta).sum(axis=1) * table.block.people.catalogue.largest_coordinate)
