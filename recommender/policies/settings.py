"""The parameters of the policies."""

from dataclasses import dataclass
from typing import Literal

from recommender.rl.distances import DISTANCES
from recommender.rl.model import RERANKED


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The parameters of every policy; each uses its own.

    Attributes:
        s: memory of novelty, in the user's interactions.
        k0: how many ratings the global mean counts for in an item's mean.
        c: weight of ucb's bonus, in rating units.
        prior: the global mean while nobody rated anything; the middle of the rating scale.
        epsilon: epsilon_greedy's chance of a uniform draw.
        epsilon_decay: ``fixed``, or ``sqrt`` for epsilon / sqrt(e + 1).
        compat_epsilon: the same chance in epsilon_greedy_compat; always fixed.
        linear_choice: how linear chooses: ``greedy`` by what it expects; ``linucb`` by that and what it does not know;
            ``thompson`` by draws from what it believes.
        linear_alpha: weight of linucb's bonus, in standard deviations.
        linear_epsilon: linear's chance of a uniform draw; always fixed.
        sequence_epsilon: sequence's; always fixed.
        actor_distance: what actors (ddpg, td3, reinforce, bcq, qlearning, sarsa) find the nearest items by; ``model``
            for what their model says.
        actor_rerank: how many of those their critics rank again, 50..500, 0 for none; None for what their model says.
        actor_epsilon: their chance of a uniform draw; always fixed.
        actor_fallback: name of the policy, one without a model, that answers users with too few ratings for a state;
            where it tosses a coin, ``actor_epsilon`` is the chance.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    s: float = 200.0
    k0: float = 5.0
    c: float = 1.0
    prior: float = 2.75
    epsilon: float = 0.1
    epsilon_decay: Literal["fixed", "sqrt"] = "fixed"
    compat_epsilon: float = 0.3
    linear_choice: Literal["greedy", "linucb", "thompson"] = "greedy"
    linear_alpha: float = 1.0
    linear_epsilon: float = 0.0
    sequence_epsilon: float = 0.0
    actor_distance: str = "model"
    actor_rerank: int | None = None
    actor_epsilon: float = 0.0
    actor_fallback: str = "epsilon_greedy"

    def __post_init__(self) -> None:
        for name in ("s", "k0"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        for name in ("c", "linear_alpha"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be in [0, inf), got {getattr(self, name)}")
        if not abs(self.prior) < float("inf"):
            raise ValueError(f"prior must be finite, got {self.prior}")
        for name in ("epsilon", "compat_epsilon", "linear_epsilon", "sequence_epsilon", "actor_epsilon"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        self._check_actors()
        if self.epsilon_decay not in ("fixed", "sqrt"):
            raise ValueError(f"epsilon_decay must be fixed or sqrt, got {self.epsilon_decay!r}")
        if self.linear_choice not in ("greedy", "linucb", "thompson"):
            raise ValueError(f"linear_choice must be greedy, linucb or thompson, got {self.linear_choice!r}")

    def _check_actors(self) -> None:
        if self.actor_distance != "model" and self.actor_distance not in DISTANCES:
            known = ", ".join(("model", *DISTANCES))
            raise ValueError(f"actor_distance must be one of {known}, got {self.actor_distance!r}")
        if self.actor_rerank and not RERANKED[0] <= self.actor_rerank <= RERANKED[1]:
            raise ValueError(f"actor_rerank must be 0 or in {RERANKED[0]}..{RERANKED[1]}, got {self.actor_rerank}")
