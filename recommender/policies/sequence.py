"""The policy that foretells the next item: decayed means of what the user rated, and live popularity.

    score(i) = theta . x_i + b_i + a log q_i  (+ log novelty(i) for what the user has rated)

The score of an unseen item is, but for a constant of the user, the log of the chance that the model gives it to be
rated next. See docs/algorithms/sequence.md.
"""

import numpy as np

from recommender.arrays import Floats
from recommender.profile import Profile, weigh_vectors
from recommender.sequence.model import REACH, SHRINKAGE, AlignedSequence


def influences(profile: Profile, model: AlignedSequence) -> tuple[Floats, Floats]:
    """Return what each rated item adds to the user's vector: weights [K, S] and input vectors [K, S, D].

    w_kj = exp(-rate_k age_j) / (0.5 + sum_j exp(-rate_k age_j)),  age_j = t - 1 - last_t of item j

    over the newest 512 of the rated items that the model knows, newest last.
    """
    order = np.argsort(profile.last_t, kind="stable")[-REACH:]
    rows, ages = model.rows[profile.rows[order]], profile.t - 1 - profile.last_t[order]
    known = rows >= 0
    weights = np.exp(-model.model.rates[:, np.newaxis] * ages[known])
    weights /= SHRINKAGE + weights.sum(axis=1, keepdims=True)
    return weights, model.model.inputs[:, rows[known]].astype(np.float64)


def state_of(profile: Profile, model: AlignedSequence) -> Floats:
    """Return theta = sum_k sum_j w_kj e_kj, shape [D]; zero for a user who rated nothing the model knows."""
    theta = np.zeros(model.vectors.shape[1])
    for weights, inputs in zip(*influences(profile, model), strict=True):
        theta = theta + weigh_vectors(weights, inputs)
    return theta
