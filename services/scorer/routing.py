"""Which policy answers a request."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate

from recommender.hashing import hash_id
from recommender.policies import POLICIES, Policy, PolicySettings, make_policy
from schemas.errors import ConfigurationError, RequestError
from schemas.events import RecommendationRequest
from streams.settings import Settings


def make_policy_settings(settings: Settings) -> PolicySettings:
    """Return the parameters of the policies; the prior is the middle of the rating scale."""
    return PolicySettings(
        s=settings.novelty_s,
        c=settings.ucb_c,
        prior=(settings.rating_min + settings.rating_max) / 2,
        epsilon=settings.epsilon,
        epsilon_decay=settings.epsilon_decay,
        sequence_epsilon=settings.sequence_epsilon,
        actor_distance=settings.actor_distance,
        actor_rerank=settings.actor_rerank,
        actor_epsilon=settings.actor_epsilon,
        actor_fallback=settings.actor_fallback,
        linear_choice=settings.linear_choice,
        linear_alpha=settings.linear_alpha,
        linear_epsilon=settings.linear_epsilon,
    )


class Routing:
    """The policies by name, and those of requests that name none.

    Such requests of one user always get the same policy, as long as the shares and the seed stay: the shares lie one
    after the other between 0 and 1, and a hash of the seed and the user id says where the user stands. A share that
    grows at its end takes users from the next one only.

    Args:
        shares: of the users whose requests name no policy, by policy; they sum to 1.
        settings: parameters of the policies.
        seed: another one deals the users anew.

    Raises:
        ConfigurationError: a share has no policy.
    """

    def __init__(self, shares: Mapping[str, float], settings: PolicySettings, seed: int) -> None:
        self.policies: Mapping[str, Policy] = {name: make_policy(name, settings) for name in POLICIES}
        if unknown := [name for name in shares if name not in self.policies]:
            raise ConfigurationError(
                f"policy must be one of {', '.join(POLICIES)}, got {', '.join(map(repr, unknown))}"
            )
        self._names = list(shares)
        self._ends = list(accumulate(shares.values()))[:-1]
        self._seed = seed

    def policy_of(self, request: RecommendationRequest) -> Policy:
        """Return the policy that answers a request.

        Raises:
            RequestError: the request names one that is unknown.
        """
        name = self._route(request.user_id) if request.policy is None else request.policy
        policy = self.policies.get(name)
        if policy is None:
            raise RequestError(
                "unknown_policy",
                f"policy must be one of {', '.join(self.policies)}, got {name!r:.80}",
                request_id=request.request_id,
                user_id=request.user_id,
            )
        return policy

    def _route(self, user_id: str) -> str:
        if not self._ends:
            return self._names[0]
        return self._names[bisect_right(self._ends, hash_id(f"{self._seed}/routing/{user_id}") / 2**64)]
