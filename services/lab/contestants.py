"""The policies that an evaluation knows by name: the project's, some in several configurations, and item means."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from recommender.arrays import Integers
from recommender.catalogue import Catalogue
from recommender.policies import POLICIES, Policy, PolicySettings, make_policy
from recommender.policies.bandit import BanditPolicy, Exploration
from recommender.policies.scores import Scores
from recommender.profile import Profile
from recommender.statistics import StatisticsView
from schemas.errors import ConfigurationError

ITEM_MEAN = "item_mean"
RANDOM = "random"

CONFIGURATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "linear_linucb": ("linear", {"linear_choice": "linucb"}),
    "linear_thompson": ("linear", {"linear_choice": "thompson"}),
    "ddpg_nearest": ("ddpg", {"actor_rerank": 0}),
    "td3_nearest": ("td3", {"actor_rerank": 0}),
}
"""Name to the policy and the parameters that are not the settings'."""


def make_contestant(name: str, settings: PolicySettings) -> Policy:
    """Return a policy by the name evaluations use.

    Raises:
        ConfigurationError: the name is unknown.
    """
    if name == ITEM_MEAN:
        return BanditPolicy(ITEM_MEAN, ITEM_MEAN, settings, score_item_mean, Exploration("never"))
    policy, parameters = CONFIGURATIONS.get(name, (name, {}))
    if policy not in POLICIES:
        known = (*POLICIES, *CONFIGURATIONS, ITEM_MEAN)
        raise ConfigurationError(f"policy must be one of {', '.join(known)}, got {name!r}")
    return make_policy(policy, replace(settings, **parameters))


def score_item_mean(
    rows: Integers,
    profile: Profile,  # noqa: ARG001 - rules have one signature
    catalogue: Catalogue,  # noqa: ARG001 - rules have one signature
    statistics: StatisticsView,
    settings: PolicySettings,
) -> Scores:
    """Return the items' shrunk means: the same for everybody."""
    means = statistics.means(settings.k0, settings.prior)[rows]
    return Scores(means, means, np.ones(len(rows)), np.zeros(len(rows)))
