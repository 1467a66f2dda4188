"""The policies by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from recommender.hashing import hash_id
from recommender.policies.actor import ActorPolicy
from recommender.policies.bandit import BanditPolicy, Exploration
from recommender.policies.compat import score_compat, score_ucb_compat
from recommender.policies.default import score_default, score_ucb
from recommender.policies.linear import LINEAR, linear_terms, score_linear, score_linucb
from recommender.policies.models import POLICY_MODELS
from recommender.policies.protocol import Policy
from recommender.policies.scores import Rule
from recommender.policies.search import (
    OrderOf,
    Shortlist,
    order_default,
    order_linear,
    order_sequence,
    shortlist_ucb,
)
from recommender.policies.sequence import score_sequence, sequence_terms
from recommender.policies.settings import PolicySettings
from recommender.policies.thompson import ThompsonPolicy
from recommender.rl.model import ACTORS
from recommender.sequence.model import SEQUENCE

RULES_REVISION = 1
"""Raised when a rule changes what it computes, so that ``policy_version`` changes with it."""


def _make(
    name: str,
    rule: Rule,
    *used: str,
    shuffles_untried: bool = False,
    order_of: OrderOf | None = None,
    shortlist: Shortlist | None = None,
) -> Callable[[PolicySettings], Policy]:
    """Return the factory of a policy that uses the parameters named in ``used``."""

    def make(settings: PolicySettings) -> Policy:
        exploration = _exploration_of(name, settings)
        parameters = {parameter: getattr(settings, parameter) for parameter in used}
        version = _version_of(name, parameters | {"exploration": [exploration.epsilon, exploration.decay]})
        return BanditPolicy(name, version, settings, rule, exploration, shuffles_untried, order_of, shortlist)

    return make


def _make_linear(settings: PolicySettings) -> Policy:
    """Return the policy linear: by its choice, and with what that choice uses."""
    choice, exploration = settings.linear_choice, Exploration("coin", settings.linear_epsilon)
    used = ("s", "k0", "prior", "linear_choice", "linear_epsilon", *(("linear_alpha",) if choice == "linucb" else ()))
    version = _version_of(LINEAR, {parameter: getattr(settings, parameter) for parameter in used})
    if choice == "thompson":
        return ThompsonPolicy(LINEAR, version, settings, score_linear, exploration, model=LINEAR, terms_of=linear_terms)
    if choice == "linucb":
        return BanditPolicy(LINEAR, version, settings, score_linucb, exploration, model=LINEAR, terms_of=linear_terms)
    return BanditPolicy(
        LINEAR,
        version,
        settings,
        score_linear,
        exploration,
        order_of=order_linear,
        model=LINEAR,
        terms_of=linear_terms,
    )


def _make_sequence(settings: PolicySettings) -> Policy:
    parameters = {parameter: getattr(settings, parameter) for parameter in ("s", "sequence_epsilon")}
    return BanditPolicy(
        SEQUENCE,
        _version_of(SEQUENCE, parameters),
        settings,
        score_sequence,
        Exploration("coin", settings.sequence_epsilon),
        order_of=order_sequence,
        model=SEQUENCE,
        terms_of=sequence_terms,
    )


def _make_actor(name: str) -> Callable[[PolicySettings], Policy]:
    """Return the factory of a policy that looks for the items nearest to what an actor says."""

    def make(settings: PolicySettings) -> Policy:
        fallback = None if settings.actor_fallback in POLICY_MODELS else POLICIES.get(settings.actor_fallback)
        if fallback is None:
            known = ", ".join(policy for policy in POLICIES if policy not in POLICY_MODELS)
            raise ValueError(f"actor_fallback must be one of {known}, got {settings.actor_fallback!r}")
        policy = fallback(settings)
        assert isinstance(policy, BanditPolicy)
        if policy.exploration.kind == "coin":
            policy = replace(policy, exploration=Exploration("coin", settings.actor_epsilon))
        used = ("actor_distance", "actor_rerank", "actor_epsilon")
        parameters = {parameter: getattr(settings, parameter) for parameter in used}
        explored = {"fallback": policy.version, "fallback_epsilon": policy.exploration.epsilon}
        return ActorPolicy(name, _version_of(name, parameters | explored), settings, policy)

    return make


def _exploration_of(name: str, settings: PolicySettings) -> Exploration:
    if name == "epsilon_greedy":
        return Exploration("coin", settings.epsilon, settings.epsilon_decay)
    if name == "epsilon_greedy_compat":
        return Exploration("coin", settings.compat_epsilon)
    return Exploration("always" if name.startswith("random") else "never")


def _version_of(name: str, parameters: dict[str, Any]) -> str:
    text = json.dumps([RULES_REVISION, name, parameters], sort_keys=True)
    return f"{name}-{hash_id(text):016x}"


POLICIES: dict[str, Callable[[PolicySettings], Policy]] = {
    "random": _make("random", score_default, "s", "k0", "prior"),
    "greedy": _make("greedy", score_default, "s", "k0", "prior", order_of=order_default),
    "epsilon_greedy": _make("epsilon_greedy", score_default, "s", "k0", "prior", order_of=order_default),
    "ucb": _make("ucb", score_ucb, "s", "k0", "prior", "c", shuffles_untried=True, shortlist=shortlist_ucb),
    "random_compat": _make("random_compat", score_compat, "s"),
    "greedy_compat": _make("greedy_compat", score_compat, "s"),
    "epsilon_greedy_compat": _make("epsilon_greedy_compat", score_compat, "s"),
    "ucb_compat": _make("ucb_compat", score_ucb_compat, "s"),
    LINEAR: _make_linear,
    SEQUENCE: _make_sequence,
    **{name: _make_actor(name) for name in ACTORS},
}
"""Name to factory."""

WITHOUT_STATISTICS = frozenset((*(name for name in POLICIES if name.endswith("_compat")), *ACTORS))
"""Policies whose slates are the same whatever the item statistics; an actor's where no other policy answers for it."""


def make_policy(name: str, settings: PolicySettings | None = None) -> Policy:
    """Return the policy of a name.

    Args:
        name: a key of :data:`POLICIES`.
        settings: its parameters; None for the defaults.

    Raises:
        ValueError: if the name is unknown.
    """
    if name not in POLICIES:
        raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {name!r}")
    return POLICIES[name](settings or PolicySettings())
