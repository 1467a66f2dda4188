"""The sides on a processor: what others use for the same question, and ours.

The others answer an easier one: the product alone, in float32, with ties in any order. Ours adds the items' means, and
its scores and ties are those of the float64 reference.
"""

import faiss
import numpy as np
import torch
from usearch.index import MetricKind, search

from benchmarks.ranking_sides.world import Find, World
from recommender.topk.index import ItemIndex


def make_numpy(world: World) -> Find:
    """Return a product, argpartition, and a sort of the k."""

    def find(thetas: np.ndarray, k: int) -> np.ndarray:
        scores = thetas.astype(np.float32) @ world.single.T
        best = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        return np.take_along_axis(best, order, axis=1)

    return find


def make_torch(world: World) -> Find:
    """Return a product and ``torch.topk``."""
    vectors = torch.from_numpy(world.single)

    def find(thetas: np.ndarray, k: int) -> torch.Tensor:
        return torch.topk(torch.from_numpy(thetas.astype(np.float32)) @ vectors.T, k).indices

    return find


def make_faiss(world: World) -> Find:
    """Return FAISS's exact search by inner product."""
    index = faiss.IndexFlatIP(world.dim)
    index.add(world.single)

    def find(thetas: np.ndarray, k: int) -> np.ndarray:
        return np.asarray(index.search(thetas.astype(np.float32), k)[1])

    return find


def make_usearch(world: World) -> Find:
    """Return usearch's exact search by inner product."""

    def find(thetas: np.ndarray, k: int) -> np.ndarray:
        return np.asarray(search(world.single, thetas.astype(np.float32), k, MetricKind.IP, exact=True).keys)

    return find


def make_ours(world: World) -> Find:
    """Return the search of :class:`recommender.topk.index.ItemIndex`."""
    index = ItemIndex(world.single.astype(np.float64))
    column = index.column(world.values)

    def find(thetas: np.ndarray, k: int) -> np.ndarray:
        return index.top_k(thetas, column, k).rows

    return find
