"""Thompson sampling for the policy ``linear``: each slot acts on one of many draws from the posterior."""

from dataclasses import dataclass

import numpy as np

from recommender.arrays import Floats
from recommender.catalogue import Catalogue
from recommender.draws import Draws
from recommender.policies.bandit import BanditPolicy, build_slate
from recommender.policies.choices import choose_by_beliefs
from recommender.policies.default import default_novelty
from recommender.policies.linear import posterior_of, products_with
from recommender.policies.protocol import Asked, Slate
from recommender.policies.search import Found, positions_of, shortlist_beliefs
from recommender.profile import Profile
from recommender.statistics import StatisticsView

BELIEFS = 256
"""Draws from the posterior, S. The propensity of a slot is a share of them, so its smallest step is 1/S."""


@dataclass(frozen=True, slots=True, eq=False)
class ThompsonPolicy(BanditPolicy):
    """The policy ``linear`` with the choice ``thompson``.

    The request's own S draws of theta each name the best item left of a slot; one of them, drawn uniformly, decides.
    Scores are what is expected, so that they depend on no draw: they need not fall from slot to slot.

    Source: Agrawal and Goyal, Thompson sampling for contextual bandits with linear payoffs, ICML 2013.
    """

    def _slate(self, asked: Asked, _: Found | None, catalogue: Catalogue, statistics: StatisticsView) -> Slate:
        request, profile, draws = asked.request, asked.profile, asked.draws
        epsilon = self.exploration.epsilon_at(profile.t, request.epsilon) or 0.0
        thetas = draw_thetas(profile, catalogue, statistics, self, draws)
        kept = shortlist_beliefs(request, profile, catalogue, statistics, self.settings, thetas)
        rows = np.asarray(request.rows) if kept is None else kept
        places = None if kept is None else positions_of(kept, request.rows)
        novelty = default_novelty(rows, profile, catalogue, self.settings)[:, np.newaxis]
        means = statistics.means(self.settings.k0, self.settings.prior)[rows, np.newaxis]
        values = (means + products_with(rows, thetas, catalogue)) * novelty
        choices = choose_by_beliefs(values, request.k, epsilon, draws, n=len(request.rows), kept=places)
        rows = request.rows[choices.positions]
        return build_slate(rows, self.score(rows, profile, catalogue, statistics), choices, epsilon, "counted")


def draw_thetas(
    profile: Profile, catalogue: Catalogue, statistics: StatisticsView, policy: BanditPolicy, draws: Draws
) -> Floats:
    """Return S draws of the user's theta, mean + root z, shape [S, E]."""
    posterior = posterior_of(profile, catalogue, statistics, policy.settings)
    return np.asarray(posterior.mean + draws.normals((BELIEFS, len(posterior.mean))) @ posterior.root.T)
