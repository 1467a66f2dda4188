"""What every index must give: all reference scores, then their top k."""

import numpy as np

from recommender.topk import reference_scores, top_k


def expected(vectors, values, theta, k, allowed=None, excluded=()):
    """Rows and scores of the best, the bits of the scores included."""
    wanted = np.ones(len(vectors), dtype=bool) if allowed is None else allowed.copy()
    wanted[list(excluded)] = False
    rows = np.flatnonzero(wanted)
    scores = (values + reference_scores(theta, vectors))[rows]
    best = top_k(scores, None, k)
    return rows[best].tolist(), scores[best].tolist()


def check(index, vectors, values, thetas, k, allowed=None, excluded=None):
    """Compare an index with the oracle, query by query."""
    ranking = index.top_k(thetas, index.column(values, allowed), k, excluded)
    for query, theta in enumerate(thetas):
        rows, scores = expected(vectors, values, theta, k, allowed, () if excluded is None else excluded[query])
        n = int(ranking.counts[query])
        assert (ranking.rows[query, :n].tolist(), ranking.scores[query, :n].tolist()) == (rows, scores)
