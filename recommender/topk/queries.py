"""What an index is asked and what it answers, the same on every device."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.topk.reference import reference_scores, top_k

MAX_DIM = 1024
"""Up to here a sum of products of codes is exact in float32."""
LARGEST = 2.0**100
"""Scores up to here do not overflow float32 on the way."""
NOTHING: Integers = np.zeros(0, dtype=np.int64)


class Queries(NamedTuple):
    """What is asked.

    Attributes:
        thetas: float64 [B, D].
        k: how many of the best.
        keeps_ties: whether everything that may equal the kth is wanted, instead of the first k.
        slack: by how much two scores may differ and yet count as equal.
        ends: where each user's part of ``excluded`` ends, after a leading 0, int64 [B + 1].
        excluded: rows not wanted, ascending in each part, int64.
    """

    thetas: Floats
    k: int
    keeps_ties: bool
    slack: float
    ends: Integers
    excluded: Integers


class Ranking:
    """The best items of each query.

    Args:
        queries: B.
        k: how many there is room for.

    Attributes:
        rows: of the items, best first, shape [B, k]; what lies beyond ``counts`` has no meaning.
        scores: their reference scores, shape [B, k].
        counts: how many there are, k unless fewer are allowed, shape [B].
    """

    __slots__ = ("counts", "rows", "scores")

    def __init__(self, queries: int, k: int) -> None:
        self.rows = np.empty((queries, k), dtype=np.int64)
        self.scores = np.empty((queries, k))
        self.counts = np.zeros(queries, dtype=np.int64)


def make_queries(thetas: Floats, dim: int, k: int, excluded: Sequence[Integers] | None) -> Queries:
    """Return what is asked, checked.

    Raises:
        ValueError: if ``k`` is below 1 or a shape does not fit.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if thetas.shape[1:] != (dim,):
        raise ValueError(f"thetas must have shape [B, {dim}], got {thetas.shape}")
    thetas = np.array(thetas, dtype=np.float64, order="C")
    if excluded is None:
        return Queries(thetas, k, False, 0.0, np.zeros(len(thetas) + 1, dtype=np.int64), NOTHING)
    if len(excluded) != len(thetas):
        raise ValueError(f"excluded must have {len(thetas)} parts, got {len(excluded)}")
    parts = [np.sort(part) for part in excluded]
    ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return Queries(thetas, k, False, 0.0, ends, np.concatenate([NOTHING, *parts]))


def rank_plainly(vectors: Floats, values: Floats, allowed: Flags, queries: Queries, ranking: Ranking) -> None:
    """Rank the queries whose count is -1 by the reference scores of every item: float32 does not hold them."""
    for query in np.flatnonzero(ranking.counts < 0).tolist():
        wanted = allowed.copy()
        wanted[queries.excluded[queries.ends[query] : queries.ends[query + 1]]] = False
        rows = np.flatnonzero(wanted)
        scores = values[rows] + reference_scores(queries.thetas[query], vectors)[rows]
        best = top_k(scores, None, queries.k)
        ranking.counts[query] = len(best)
        ranking.rows[query, : len(best)], ranking.scores[query, : len(best)] = rows[best], scores[best]
