"""The parameters of the policies."""

from dataclasses import dataclass
from typing import Literal


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

    def __post_init__(self) -> None:
        for name in ("s", "k0"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        for name in ("c", "linear_alpha"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be in [0, inf), got {getattr(self, name)}")
        if not abs(self.prior) < float("inf"):
            raise ValueError(f"prior must be finite, got {self.prior}")
        for name in ("epsilon", "compat_epsilon", "linear_epsilon", "sequence_epsilon"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.epsilon_decay not in ("fixed", "sqrt"):
            raise ValueError(f"epsilon_decay must be fixed or sqrt, got {self.epsilon_decay!r}")
        if self.linear_choice not in ("greedy", "linucb", "thompson"):
            raise ValueError(f"linear_choice must be greedy, linucb or thompson, got {self.linear_choice!r}")
