"""How the users' ratings differ from everybody's, in item space: what the default rules add to the item means."""

from collections.abc import Sequence

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.catalogue import Catalogue
from recommender.policies.settings import PolicySettings
from recommender.profile import Profile
from recommender.statistics import StatisticsView, means_of_others
from recommender.topk.selection import compiled
from schemas.codec import RATING_QUANTUM

HALF_TRUST_T = 3
"""The t at which the user's own ratings have half their weight: t/(t + 3)."""


def taste(profile: Profile, catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings) -> Floats:
    """Return the taste of one user, shape [D]; see :func:`tastes`."""
    return np.asarray(tastes([profile], catalogue, statistics, settings)[0])


def tastes(
    profiles: Sequence[Profile], catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> Floats:
    """Return t/(t + 3) theta_c of each user, shape [B, D]; each depends on its own profile alone.

    theta_c = (1/t) sum_j (rating_sum_j - count_j m_j) x_j

    over the user's own entries, m_j without the user's own part; zero at t = 0. Entries outside the catalogue or
    without a vector add nothing but count in t.
    """
    rows, counts, sums = (
        np.concatenate([getattr(profile, name) for profile in profiles]) for name in ("rows", "counts", "sums")
    )
    ends = np.array([len(profile.rows) for profile in profiles]).cumsum()
    means = means_of_others(statistics, rows, counts, sums, settings.k0, prior=settings.prior)
    surprise = sums / RATING_QUANTUM - counts * means
    t = np.array([profile.t for profile in profiles])[:, np.newaxis]
    theta_c = weigh_rows(surprise, rows, ends, catalogue.vectors) / np.maximum(t, 1)
    return np.asarray(t / (t + HALF_TRUST_T) * theta_c)


@compiled
def weigh_rows(weights: Floats, rows: Integers, ends: Integers, vectors: Floats) -> Floats:
    """Return sum_j w_j x_j of each user in the order given, shape [B, D].

    Args:
        weights: of all users' rows, one user after the other, shape [S].
        rows: of the vectors, shape [S].
        ends: where each user's part ends, shape [B].
        vectors: shape [N, D].
    """
    total = np.zeros((len(ends), vectors.shape[1]))
    start = 0
    for user in range(len(ends)):
        for place in range(start, ends[user]):
            weight, row = weights[place], rows[place]
            for d in range(vectors.shape[1]):
                total[user, d] += weight * vectors[row, d]
        start = ends[user]
    return total
