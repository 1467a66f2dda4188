"""Which policy answers a request."""

from collections.abc import Mapping

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
    )


class Routing:
    """The policies by name, and the one of requests that name none.

    Args:
        default: name of the policy of requests that name none.
        settings: parameters of the policies.

    Raises:
        ConfigurationError: ``default`` is no policy.
    """

    def __init__(self, default: str, settings: PolicySettings) -> None:
        self.policies: Mapping[str, Policy] = {name: make_policy(name, settings) for name in POLICIES}
        if default not in self.policies:
            raise ConfigurationError(f"policy must be one of {', '.join(POLICIES)}, got {default!r}")
        self._default = default

    def policy_of(self, request: RecommendationRequest) -> Policy:
        """Return the policy that answers a request.

        Raises:
            RequestError: the request names one that is unknown.
        """
        name = self._default if request.policy is None else request.policy
        policy = self.policies.get(name)
        if policy is None:
            raise RequestError(
                "unknown_policy",
                f"policy must be one of {', '.join(self.policies)}, got {name!r:.80}",
                request_id=request.request_id,
                user_id=request.user_id,
            )
        return policy
