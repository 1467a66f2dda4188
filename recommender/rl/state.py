"""The state that an actor sees: a user's newest frame, items and centred ratings."""

import numpy as np

from recommender.arrays import Floats

CENTRED = (-4.0, 5.0)
"""What the least and the highest rating become."""


def centre_ratings(ratings: Floats, scale: tuple[float, float]) -> Floats:
    """Return r' = -4 + 9 (r - min)/(max - min), shape as given; on a scale of 0.5..5 that is 2 (r - 2.5).

    Args:
        ratings: within the scale, any shape.
        scale: least and highest rating.

    >>> centre_ratings(np.array([0.5, 1.0, 5.0]), (0.5, 5.0)).tolist()
    [-4.0, -3.0, 5.0]
    """
    low, high = scale
    return np.asarray(CENTRED[0] + (CENTRED[1] - CENTRED[0]) * (ratings - low) / (high - low))


def make_states(vectors: Floats, ratings: Floats, scale: tuple[float, float]) -> Floats:
    """Return states [x_1 .. x_F flattened, oldest first | r'_1 .. r'_F], shape [..., F (D + 1)].

    Args:
        vectors: of the frame's items, oldest first, shape [..., F, D].
        ratings: of the same, shape [..., F].
        scale: least and highest rating.

    Raises:
        ValueError: the shapes do not fit.

    >>> make_states(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, 5.0]), (0.5, 5.0)).tolist()
    [1.0, 2.0, 3.0, 4.0, -4.0, 5.0]
    """
    if vectors.shape[:-1] != ratings.shape or not ratings.ndim:
        raise ValueError(f"vectors must be [..., F, D] for ratings [..., F], got {vectors.shape}, {ratings.shape}")
    *batch, frame_size, dim = vectors.shape
    flat = vectors.reshape(*batch, frame_size * dim)
    return np.concatenate((flat, centre_ratings(ratings, scale)), axis=-1)


def pad_states(vectors: Floats, ratings: Floats, scale: tuple[float, float], frame_size: int) -> Floats:
    """Return states as :func:`make_states`, of at most F events; those that are missing count as zeros, r' too.

    Args:
        vectors: of the events that are there, oldest first, shape [..., n, D].
        ratings: of the same, shape [..., n].
        scale: least and highest rating.
        frame_size: F.

    >>> pad_states(np.array([[3.0, 4.0]]), np.array([5.0]), (0.5, 5.0), 2).tolist()
    [0.0, 0.0, 3.0, 4.0, 0.0, 5.0]
    """
    *batch, there, dim = vectors.shape
    made = make_states(vectors, ratings, scale)
    missing = frame_size - there
    first, last = np.zeros((*batch, missing * dim)), np.zeros((*batch, missing))
    return np.concatenate((first, made[..., : there * dim], last, made[..., there * dim :]), axis=-1)


def state_size(frame_size: int, dim: int) -> int:
    """Return the length of a state, F (D + 1).

    >>> state_size(10, 128)
    1290
    """
    return frame_size * (dim + 1)
