"""Distances as orders of inner products, which an index can search.

    inner      is ordered as  a . x
    euclidean  is ordered as  a . x - |x|^2/2       since |a - x|^2 = |a|^2 - 2 (a . x - |x|^2/2)
    cosine     is ordered as  a . x/|x|

The other distances are no such orders.
"""

from collections.abc import Callable, Mapping

import numpy as np

from recommender.arrays import Floats, read_only
from recommender.topk.index import ItemIndex


def _inner(vectors: Floats) -> tuple[ItemIndex, Floats]:
    return ItemIndex(vectors), read_only(np.zeros(len(vectors)))


def _euclidean(vectors: Floats) -> tuple[ItemIndex, Floats]:
    return ItemIndex(vectors), read_only(-0.5 * np.square(vectors).sum(axis=1))


def _cosine(vectors: Floats) -> tuple[ItemIndex, Floats]:
    norms = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    unit = np.divide(vectors, norms, out=np.zeros(vectors.shape), where=norms > 0.0)
    return ItemIndex(read_only(unit)), read_only(np.zeros(len(vectors)))


INDICES: Mapping[str, Callable[[Floats], tuple[ItemIndex, Floats]]] = {
    "inner": _inner,
    "euclidean": _euclidean,
    "cosine": _cosine,
}
"""Name of a distance to what its index is of, and what is added to the products, shape [N]."""
