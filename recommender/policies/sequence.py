"""The policy that foretells the next item: decayed means of what the user rated, and live popularity.

    score(i) = theta . x_i + b_i + a log q_i  (+ log novelty(i) for what the user has rated)

The score of an unseen item is, but for a constant of the user, the log of the chance that the model gives it to be
rated next. See docs/algorithms/sequence.md.
"""

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.catalogue import Catalogue
from recommender.policies.models import model_of
from recommender.policies.scores import Scores, Terms, products_of
from recommender.policies.settings import PolicySettings
from recommender.profile import Profile, weigh_vectors
from recommender.sequence.model import REACH, SEQUENCE, SHRINKAGE, AlignedSequence, stage_of
from recommender.statistics import StatisticsView


def aligned_of(catalogue: Catalogue) -> AlignedSequence:
    """Return the policy's model on the catalogue's rows.

    Raises:
        ModelUnavailable: the catalogue has none.
    """
    value = model_of(catalogue, SEQUENCE).value
    assert isinstance(value, AlignedSequence)
    return value


def state_of(profile: Profile, model: AlignedSequence) -> Floats:
    """Return the user's vector, shape [D].

    theta = c_stage + sum_k sum_j w_kj e_kj,   w_kj = exp(-rate_k age_j) / sqrt(1 + sum_j exp(-rate_k age_j))

    over the newest 512 of the user's items that the model knows; age_j = t - 1 - last_t of item j. The stage is how far
    the user has come, floor(log2(t + 1)) and at most 9: what people rate first is not what they rate later.
    """
    theta: Floats = model.model.stages[stage_of(profile.t)]
    places, weights = _weigh(profile, model)
    rows = model.rows[profile.rows[places]]
    for own, inputs in zip(weights, model.model.inputs, strict=True):
        theta = theta + weigh_vectors(own, inputs[rows].astype(np.float64))
    return theta


def score_sequence(
    rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> Scores:
    """Return the scores: relevance(i) = (b_i + a log q_i) + theta . x_i, novelty 1, and what seen items lose as bonus.

    A seen item's bonus is log(1 - exp(-(n + 1)/s)), n the user's ratings since its newest one: as much as its chance
    is multiplied by, always finite. Unseen items have none.
    """
    model = aligned_of(catalogue)
    relevance = model.prior(statistics)[rows] + products_of(rows, state_of(profile, model), model.vectors)
    bonus = np.zeros(len(rows))
    places = profile.places_of(rows, catalogue.size)
    seen = np.flatnonzero(places >= 0)
    since = profile.t - profile.last_t[places[seen]]
    bonus[seen] = np.log(-np.expm1(-since / settings.s))
    return Scores(relevance + bonus, relevance, np.ones(len(rows)), bonus)


def sequence_terms(
    rows: Integers,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,  # noqa: ARG001 - a rule's arguments
) -> Terms:
    """Return what relevance is made of: popularity with the item's bias, and theta . x by the stage and rated items."""
    model = aligned_of(catalogue)
    places, weights = _weigh(profile, model)
    learned = model.rows[profile.rows[places]]
    parts = np.zeros((len(profile.rows), model.vectors.shape[1]))
    for own, inputs in zip(weights, model.model.inputs, strict=True):
        parts[places] += own[:, np.newaxis] * inputs[learned]
    return Terms(
        prior=model.prior(statistics)[rows],
        personal=products_of(rows, state_of(profile, model), model.vectors),
        general=products_of(rows, model.model.stages[stage_of(profile.t)], model.vectors),
        shares=model.vectors[rows] @ parts.T,
    )


def _weigh(profile: Profile, model: AlignedSequence) -> tuple[Integers, Floats]:
    """Return which of the profile's entries count, oldest first, shape [S], and their weights, shape [K, S]."""
    order = np.argsort(profile.last_t, kind="stable")
    places = order[model.rows[profile.rows[order]] >= 0][-REACH:]
    ages = profile.t - 1 - profile.last_t[places]
    weights = np.exp(-model.model.rates[:, np.newaxis] * ages)
    return places, weights / np.sqrt(SHRINKAGE + weights.sum(axis=1, keepdims=True))
