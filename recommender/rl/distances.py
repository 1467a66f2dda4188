"""Distances from a proto-action to items, in float64 and always finite.

A row's distance depends on that row and the proto-action alone: identical items have identical distances at every
position and beside any other rows. Where scipy.spatial.distance has a value, these are equal to it, to within rounding.
"""

from collections.abc import Callable, Mapping

import numpy as np

from recommender.arrays import Floats
from recommender.topk import reference_scores

Distance = Callable[[Floats, Floats], Floats]
"""A proto-action a of shape [D] and vectors x of shape [M, D] to distances of shape [M]."""

FARTHEST = 1e300
"""What stands for a distance that is infinite or beyond float64."""
MINKOWSKI_P = 3.0
"""Order of minkowski: 1 would be cityblock again, 2 euclidean, and infinity chebyshev."""
NO_DIRECTION = 1.0
"""Distance by angle to what has no direction: that of a right angle."""

_MATRIX_DIMENSIONS = 2
_BLOCK_ROWS = 4096


def distances_to(name: str, action: Floats, vectors: Floats) -> Floats:
    """Return the distance of each vector to a proto-action, shape [M]; the smaller, the better.

    Args:
        name: a key of :data:`DISTANCES`.
        action: a, shape [D], float64, finite.
        vectors: x, shape [M, D], float64, finite.

    Raises:
        ValueError: the name is unknown or the shapes do not fit.

    >>> distances_to("cityblock", np.array([1.0, 2.0]), np.array([[1.0, 2.0], [4.0, -2.0]])).tolist()
    [0.0, 7.0]
    """
    if name not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, got {name!r}")
    if vectors.ndim != _MATRIX_DIMENSIONS or action.shape != vectors.shape[1:]:
        raise ValueError(f"action must have shape [D] for vectors of shape [M, D], got {action.shape}, {vectors.shape}")
    found = np.empty(len(vectors))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for start in range(0, len(vectors), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            found[rows] = DISTANCES[name](action, vectors[rows])
    return np.clip(np.nan_to_num(found, nan=FARTHEST, posinf=FARTHEST, neginf=-FARTHEST), -FARTHEST, FARTHEST)


def _euclidean(action: Floats, vectors: Floats) -> Floats:
    """Return sqrt(sum (a - x)^2)."""
    return np.asarray(np.sqrt(np.square(action - vectors).sum(axis=1)))


def _cosine(action: Floats, vectors: Floats) -> Floats:
    """Return 1 - a . x / (|a| |x|), in 0..2; 1 where a or x is zero."""
    largest = np.abs(action).max(initial=0.0)
    a = action / largest if largest else action
    norms = np.sqrt(np.square(a).sum()) * np.sqrt(np.square(vectors).sum(axis=1))
    cosines = np.divide((a * vectors).sum(axis=1), norms, out=np.zeros(len(vectors)), where=norms > 0.0)
    return np.asarray(np.clip(NO_DIRECTION - cosines, 0.0, 2.0))


def _correlation(action: Floats, vectors: Floats) -> Floats:
    """Return the cosine distance of a and x, each less the mean of its own coordinates."""
    if not len(action):
        return np.full(len(vectors), NO_DIRECTION)
    return _cosine(action - action.mean(), vectors - vectors.mean(axis=1, keepdims=True))


def _canberra(action: Floats, vectors: Floats) -> Floats:
    """Return sum |a - x| / (|a| + |x|), where 0/0 is 0."""
    apart, size = np.abs(action - vectors), np.abs(action) + np.abs(vectors)
    return np.asarray(np.divide(apart, size, out=np.zeros(apart.shape), where=size > 0.0).sum(axis=1))


def _minkowski(action: Floats, vectors: Floats) -> Floats:
    """Return (sum |a - x|^3)^(1/3)."""
    return np.asarray((np.abs(action - vectors) ** MINKOWSKI_P).sum(axis=1) ** (1.0 / MINKOWSKI_P))


def _chebyshev(action: Floats, vectors: Floats) -> Floats:
    """Return max |a - x|."""
    return np.asarray(np.abs(action - vectors).max(axis=1, initial=0.0))


def _braycurtis(action: Floats, vectors: Floats) -> Floats:
    """Return sum |a - x| / sum |a + x|, where 0/0 is 0."""
    apart, together = np.abs(action - vectors).sum(axis=1), np.abs(action + vectors).sum(axis=1)
    return np.asarray(np.where(apart == 0.0, 0.0, apart / together))


def _cityblock(action: Floats, vectors: Floats) -> Floats:
    """Return sum |a - x|."""
    return np.asarray(np.abs(action - vectors).sum(axis=1))


def _inner(action: Floats, vectors: Floats) -> Floats:
    """Return -a . x, which is no metric: it can be below 0, and favours long vectors."""
    return np.asarray(-reference_scores(action, vectors))


DISTANCES: Mapping[str, Distance] = {
    "euclidean": _euclidean,
    "cosine": _cosine,
    "correlation": _correlation,
    "canberra": _canberra,
    "minkowski": _minkowski,
    "chebyshev": _chebyshev,
    "braycurtis": _braycurtis,
    "cityblock": _cityblock,
    "inner": _inner,
}
"""Name to distance."""
