"""The Bayesian linear bandit: what others think of an item, corrected by a posterior over the user's taste.

    r - m_i = theta . [1, x_i] + noise,   theta ~ N(mu, Sigma),   noise ~ N(0, sigma^2)

mu, Sigma and sigma^2 are learned from other users, x_i are item factors (:mod:`recommender.factors`). The posterior is
a function of the user's ledger and the item statistics, computed when a request comes. See docs/algorithms/linear.md.
"""

from dataclasses import dataclass

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.catalogue import Catalogue
from recommender.factors.model import AlignedFactors
from recommender.policies.default import default_novelty
from recommender.policies.models import model_of
from recommender.policies.scores import Scores, Terms, products_of
from recommender.policies.settings import PolicySettings
from recommender.profile import Profile
from recommender.statistics import StatisticsView, means_of_others
from schemas.codec import RATING_QUANTUM

LINEAR = "linear"


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """What is believed of a user's theta after the ratings: N(mean, root root').

    Attributes:
        mean: shape [E], E = D + 1.
        root: shape [E, E].
        weights: w of mean = mu + sum_j w_j, one row a rated item, shape [S, E].
    """

    mean: Floats
    root: Floats
    weights: Floats


def posterior_of(
    profile: Profile, catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> Posterior:
    """Return the posterior from the user's own entries.

    With Sigma = L L', a row a_j = [1, x_j] L for each rated item, n_j its ratings by the user, and y_j the mean of
    those less m_j, which is made without the user's own part:

        M = I + (1/sigma^2) sum_j n_j a_j a_j'
        mean = mu + L M^-1 (1/sigma^2) sum_j n_j (y_j - mu . [1, x_j]) a_j,   covariance = L M^-1 L'

    Each entry counts as often as the item was rated. Entries outside the catalogue add nothing.

    Raises:
        ModelUnavailable: the catalogue has no model of the policy.

    Source: Bishop, Pattern Recognition and Machine Learning, 2006, section 3.3.
    """
    factors = factors_of(catalogue)
    prior = factors.prior
    if not len(profile.rows):
        return Posterior(prior.mean, prior.root, np.zeros((0, len(prior.mean))))
    means = means_of_others(statistics, profile.rows, profile.counts, profile.sums, settings.k0, prior=settings.prior)
    x = factors.vectors[profile.rows]
    weight = profile.counts / prior.noise
    surprise = profile.sums / RATING_QUANTUM / profile.counts - means - x @ prior.mean
    a = x @ prior.root
    lower = np.linalg.cholesky(np.eye(a.shape[1]) + a.T @ (weight[:, np.newaxis] * a))
    root = np.linalg.solve(lower, prior.root.T).T
    weights = (weight * surprise)[:, np.newaxis] * (np.linalg.solve(lower, a.T).T @ root.T)
    return Posterior(prior.mean + weights.sum(axis=0), root, weights)


def factors_of(catalogue: Catalogue) -> AlignedFactors:
    """Return the item factors on the catalogue's rows.

    Raises:
        ModelUnavailable: the catalogue has none.
    """
    value = model_of(catalogue, LINEAR).value
    assert isinstance(value, AlignedFactors)
    return value


def score_linear(
    rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> Scores:
    """Return what is expected: relevance(i) = m_i + mean . [1, x_i],  score = relevance novelty."""
    posterior = posterior_of(profile, catalogue, statistics, settings)
    return _score(rows, posterior, profile, catalogue, statistics, settings, np.zeros(len(rows)))


def score_linucb(
    rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> Scores:
    """Return what is expected and what is not known.

    score = relevance novelty + alpha sqrt(x' covariance x),  x = [1, x_i]

    Source: Li, Chu, Langford and Schapire 2010, doi:10.1145/1772690.1772758, with a learned prior.
    """
    posterior = posterior_of(profile, catalogue, statistics, settings)
    bonus = settings.linear_alpha * deviations(rows, posterior, catalogue)
    return _score(rows, posterior, profile, catalogue, statistics, settings, bonus)


def deviations(rows: Integers, posterior: Posterior, catalogue: Catalogue) -> Floats:
    """Return the posterior's standard deviation of theta . [1, x_i] at ``rows``, shape [M]."""
    along = products_with(rows, posterior.root.T, catalogue)
    return np.asarray(np.sqrt((along * along).sum(axis=1)))


def products_with(rows: Integers, thetas: Floats, catalogue: Catalogue) -> Floats:
    """Return theta . [1, x_i] of each theta at ``rows``, shape [M, T]; the same bits for any set of rows.

    Args:
        rows: catalogue rows, shape [M].
        thetas: shape [T, E].
        catalogue: the items, with the policy's model.
    """
    vectors = factors_of(catalogue).vectors[rows]
    total, term = np.zeros((2, len(rows), len(thetas)))
    for d in range(thetas.shape[1]):
        np.multiply(vectors[:, d, np.newaxis], thetas[:, d], out=term)
        np.add(total, term, out=total)
    return total


def linear_terms(
    rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> Terms:
    """Return what relevance is made of: m_i, and mean . [1, x_i] of mu's part and each rating's."""
    factors, posterior = factors_of(catalogue), posterior_of(profile, catalogue, statistics, settings)
    return Terms(
        prior=statistics.means(settings.k0, settings.prior)[rows],
        personal=products_of(rows, posterior.mean, factors.vectors),
        general=products_of(rows, factors.prior.mean, factors.vectors),
        shares=factors.vectors[rows] @ posterior.weights.T,
    )


def _score(
    rows: Integers,
    posterior: Posterior,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,
    bonus: Floats,
) -> Scores:
    means = statistics.means(settings.k0, settings.prior)[rows]
    relevance = means + products_of(rows, posterior.mean, factors_of(catalogue).vectors)
    novelty = default_novelty(rows, profile, catalogue, settings)
    return Scores(relevance * novelty + bonus, relevance, novelty, bonus)
