"""The reference score and the exact top k; anything faster must give the same bits."""

import numpy as np

from recommender.arrays import Floats, Hashes, Integers

_MATRIX_DIMENSIONS = 2
_BLOCK_ROWS = 4096


def reference_scores(theta: Floats, vectors: Floats) -> Floats:
    """Return theta . x of every row, accumulated over d = 0..D-1 in order.

    A BLAS product gives identical rows different values by position; here every row goes through the same
    multiplications and additions, so identical rows get identical values at any position and in any batch.

    Args:
        theta: shape [D], float64.
        vectors: shape [N, D], float64, any memory order.

    Raises:
        ValueError: if the shapes do not fit.

    >>> reference_scores(np.array([1.0, 2.0]), np.array([[3.0, 4.0], [0.0, 1.0]]))
    array([11.,  2.])
    """
    if vectors.ndim != _MATRIX_DIMENSIONS or theta.shape != vectors.shape[1:]:
        raise ValueError(f"theta must have shape [D] for vectors of shape [N, D], got {theta.shape}, {vectors.shape}")
    scores = np.zeros(len(vectors))
    term = np.empty(min(_BLOCK_ROWS, len(vectors)))
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS]
        total, product = scores[start : start + _BLOCK_ROWS], term[: len(block)]
        for d, weight in enumerate(theta.tolist()):
            np.multiply(block[:, d], weight, out=product)
            np.add(total, product, out=total)
    return scores


def top_k(scores: Floats, tie_order: Hashes | Integers | None, k: int) -> Integers:
    """Return the positions of the k highest scores, best first.

    Args:
        scores: shape [M], finite.
        tie_order: what decides among equal scores, the lower first, then the position; None for position alone.
        k: how many; all when k is M or more.

    Raises:
        ValueError: if ``k`` is negative or the shapes differ.

    >>> top_k(np.array([1.0, 3.0, 2.0, 3.0]), None, 3)
    array([1, 3, 2])
    >>> top_k(np.array([1.0, 3.0, 2.0, 3.0]), np.array([0, 9, 0, 4]), 3)
    array([3, 1, 2])
    """
    if k < 0:
        raise ValueError(f"k must be at least 0, got {k}")
    if tie_order is not None and tie_order.shape != scores.shape:
        raise ValueError(f"tie_order must have the shape of scores, got {tie_order.shape}, {scores.shape}")
    kept = _at_least_kth(scores, tie_order, k) if 0 < k < len(scores) else np.arange(len(scores) if k else 0)
    if tie_order is None:
        return kept[np.argsort(-scores[kept], kind="stable")]
    return kept[np.lexsort((tie_order[kept], -scores[kept]))]


def _at_least_kth(scores: Floats, tie_order: Hashes | Integers | None, k: int) -> Integers:
    """Return the positions of the k best, ascending: all above the kth value, and of those equal to it the first."""
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > kth)
    equal = np.flatnonzero(scores == kth)
    if tie_order is not None and len(equal) > k - len(above):
        equal = equal[np.argsort(tie_order[equal], kind="stable")]
    return np.sort(np.concatenate((above, equal[: k - len(above)])))
