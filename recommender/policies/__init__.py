"""Policies: who gets which slate, with the probability of having shown it."""

from recommender.policies.models import POLICY_MODELS, PolicyModel, read_policy_model
from recommender.policies.protocol import Asked, Policy, Slate, SlateRequest
from recommender.policies.registry import POLICIES, make_policy
from recommender.policies.search import prepare_search
from recommender.policies.settings import PolicySettings

__all__ = [
    "POLICIES",
    "POLICY_MODELS",
    "Asked",
    "Policy",
    "PolicyModel",
    "PolicySettings",
    "Slate",
    "SlateRequest",
    "make_policy",
    "prepare_search",
    "read_policy_model",
]
