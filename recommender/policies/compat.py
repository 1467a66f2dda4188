"""The notebook's rules to the letter: epoch e = t + 1, L = 1 and N = 0 for unseen items, float64 throughout."""

import math

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.catalogue import Catalogue
from recommender.novelty import UNSEEN_LAST_T, compat_bonus, novelty
from recommender.policies.scores import ROUNDING_MARGIN, Scores, largest_product, products_at
from recommender.policies.settings import PolicySettings
from recommender.profile import Profile
from recommender.statistics import StatisticsView


def score_compat(
    rows: Integers,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,  # noqa: ARG001 - rules have one signature
    settings: PolicySettings,
) -> Scores:
    """Return the scores of the notebook's random, greedy and epsilon-greedy.

    score(i) = (theta . x_i)(1 - exp(-(e - L(i))/s)) + bonus(i),  bonus(i) = sqrt(2 log2(e + 1)/(N(i) e)) if N(i) > 0
    """
    relevance, fresh, bonus, _ = _parts(rows, profile, catalogue, settings)
    return Scores(relevance * fresh + bonus, relevance, fresh, bonus)


def score_ucb_compat(
    rows: Integers,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,  # noqa: ARG001 - rules have one signature
    settings: PolicySettings,
) -> Scores:
    """Return the notebook's scores with the textbook's infinite bonus at N = 0: each item is tried once.

    All untried items score alike, so the given order decides among them. Their score is a bound on that of every tried
    item, plus a billionth for rounding and 1: (sum_d abs(theta_d)) max abs(x_d) + sqrt(2 log2(e + 1)/e) + 1.
    """
    relevance, fresh, bonus, counts = _parts(rows, profile, catalogue, settings)
    e = profile.t + 1
    untried = counts == 0
    ceiling = largest_product(profile.theta, catalogue) * ROUNDING_MARGIN
    ceiling += math.sqrt(2.0 * math.log2(e + 1.0) / e) + 1.0
    score = np.where(untried, ceiling, relevance * fresh + bonus)
    return Scores(score, relevance, fresh, bonus, untried)


def _parts(
    rows: Integers, profile: Profile, catalogue: Catalogue, settings: PolicySettings
) -> tuple[Floats, Floats, Floats, Integers]:
    """Return relevance, novelty, bonus and N of ``rows``, each of shape [M]."""
    e = profile.t + 1
    places = profile.places_of(rows, catalogue.size)
    seen = np.flatnonzero(places >= 0)
    seen_places = places[seen]
    counts = np.zeros(len(rows), dtype=np.int64)
    counts[seen] = profile.counts[seen_places]
    fresh = np.full(len(rows), novelty(e, UNSEEN_LAST_T, settings.s))
    fresh[seen] = novelty(e, profile.last_t[seen_places], settings.s)
    bonus = np.zeros(len(rows))
    bonus[seen] = compat_bonus(e, counts[seen])
    return products_at(rows, profile.theta, catalogue), fresh, bonus, counts
