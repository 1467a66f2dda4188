"""A catalogue of random vectors, and users who ask for their best items."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Find = Callable[[np.ndarray, int], Any]
"""Users [B, D] in float64 and k to whatever the side returns."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """N items of length 1, their means, and users: float32 as the other sides take them, float64 as ours does.

    Attributes:
        single: shape [N, D], float32.
        values: what the items' means add, shape [N], float64.
        thetas: shape [B, D], float64, for the largest B.
    """

    single: np.ndarray
    values: np.ndarray
    thetas: np.ndarray

    @property
    def size(self) -> int:
        """N."""
        return len(self.single)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.single.shape[1])


def make_world(size: int, dim: int, users: int) -> World:
    """Return a world; the same for the same sizes."""
    rng = np.random.default_rng(size + dim)
    single = rng.standard_normal((size, dim), dtype=np.float32)
    single /= np.sqrt((single * single).sum(axis=1))[:, np.newaxis]
    return World(single, 3.0 + 0.3 * rng.standard_normal(size), rng.standard_normal((users, dim)))
