"""The default rules: what others think, corrected by what the user said, less what was seen lately."""

import math

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.catalogue import Catalogue
from recommender.novelty import novelty_of_seen
from recommender.policies.scores import ROUNDING_MARGIN, Scores, largest_product, products_at
from recommender.policies.settings import PolicySettings
from recommender.policies.taste import taste
from recommender.profile import Profile
from recommender.statistics import StatisticsView


def score_default(
    rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> Scores:
    """Return the scores of random, greedy and epsilon_greedy.

    relevance(i) = m_i + t/(t + 3) theta_c . x_i,  score = relevance novelty,  novelty 1 for unseen items.
    """
    relevance = statistics.means(settings.k0, settings.prior)[rows]
    if profile.t > 0:
        relevance = relevance + products_at(rows, taste(profile, catalogue, statistics, settings), catalogue)
    novelty = default_novelty(rows, profile, catalogue, settings)
    return Scores(relevance * novelty, relevance, novelty, np.zeros(len(rows)))


def score_ucb(
    rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> Scores:
    """Return the scores of ucb: UCB1 over the shared item statistics.

    tried (N_i > 0):  m_i novelty + c sqrt(2 ln T / N_i)
    untried:          relevance novelty + lift,  relevance as in :func:`score_default`

    N_i and T are the ratings of the item and of all items, by all users. The bonus of an untried item is infinite;
    ``lift`` stands for it: a bound on the score of every tried item of the catalogue, plus a bound on how far below 0
    relevance can be, plus 1 and a billionth for rounding. It depends on the user and the statistics, not on the rows
    asked for. Auer, Cesa-Bianchi and Fischer 2002, doi:10.1023/A:1013689704352.
    """
    theta = taste(profile, catalogue, statistics, settings)
    counts = statistics.counts[rows]
    untried = counts == 0
    log_t = math.log(max(statistics.total_count, 1))
    bonus = np.where(untried, 0.0, settings.c * np.sqrt(2.0 * log_t / np.maximum(counts, 1)))
    relevance = statistics.means(settings.k0, settings.prior)[rows]
    if profile.t > 0:
        relevance[untried] += products_at(rows[untried], theta, catalogue)
    novelty = default_novelty(rows, profile, catalogue, settings)
    _, lift = highest_and_lift(theta, catalogue, statistics, settings)
    score = relevance * novelty + np.where(untried, lift, bonus)
    return Scores(score, relevance, novelty, bonus, untried, lift)


def highest_and_lift(
    theta: Floats, catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> tuple[float, float]:
    """Return a bound on the magnitude of relevance plus bonus, and ucb's ``lift``; see :func:`score_ucb`."""
    means = statistics.means(settings.k0, settings.prior)
    most, least = float(means.max(initial=0.0)), float(means.min(initial=0.0))
    largest_bonus = settings.c * math.sqrt(2.0 * math.log(max(statistics.total_count, 1)))
    product = largest_product(theta, catalogue)
    lift = ((most + largest_bonus) - (least - product)) * ROUNDING_MARGIN + 1.0
    return max(most, -least) + product + largest_bonus, lift


def default_novelty(rows: Integers, profile: Profile, catalogue: Catalogue, settings: PolicySettings) -> Floats:
    """Return the novelty of ``rows``, shape [M]: 1 for unseen items."""
    values = np.ones(len(rows))
    places = profile.places_of(rows, catalogue.size)
    seen = np.flatnonzero(places >= 0)
    values[seen] = novelty_of_seen(profile.t, profile.last_t[places[seen]], settings.s)
    return values
