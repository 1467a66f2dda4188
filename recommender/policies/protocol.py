"""What every policy takes and gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from recommender.arrays import Flags, Floats, Integers
from recommender.catalogue import Catalogue
from recommender.draws import Draws
from recommender.policies.scores import Terms
from recommender.profile import Profile
from recommender.rows import AllBut
from recommender.statistics import StatisticsView


@dataclass(frozen=True, slots=True, eq=False)
class SlateRequest:
    """What is asked of a policy.

    Attributes:
        k: slots wanted.
        rows: distinct catalogue rows allowed, in the order that decides ties, shape [M].
        epsilon: the request's own chance of a uniform draw; None for the policy's.

    Raises:
        ValueError: if ``k`` is below 1 or ``epsilon`` outside [0, 1].
    """

    k: int
    rows: Integers | AllBut
    epsilon: float | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        if self.epsilon is not None and not 0.0 <= self.epsilon <= 1.0:
            raise ValueError(f"epsilon must be in [0, 1], got {self.epsilon}")


@dataclass(frozen=True, slots=True, eq=False)
class Slate:
    """The items shown, slot by slot; min(k, M) of them.

    Attributes:
        rows: catalogue rows, shape [K].
        scores: higher is better, always finite, shape [K].
        propensities: probability of each slot's item given the slots before it, shape [K].
        explored: whether the slot's item came from the uniform draw, shape [K].
        parts: the arithmetic behind each score: ``relevance * novelty + bonus`` in float64.
        slate_propensity: the product of the propensities; it reaches 0.0 where the product is below float64's range.
        propensity_kind: ``exact``: computed; ``counted``: a share of draws, not the chance they were drawn with.
        epsilon: the chance of a uniform draw that was used; None for policies without a coin.
        fallback: name of the policy that made it in place of the one asked; None where that made it itself.
    """

    rows: Integers
    scores: Floats
    propensities: Floats
    explored: Flags
    parts: list[dict[str, Any]]
    slate_propensity: float
    propensity_kind: Literal["exact", "counted"]
    epsilon: float | None
    fallback: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One request of a micro-batch.

    Attributes:
        request: what is asked.
        profile: the user.
        draws: the draws of this request.
    """

    request: SlateRequest
    profile: Profile
    draws: Draws


class Policy(Protocol):
    """A pure function from request, state and statistics to a slate; all randomness comes from ``draws``."""

    @property
    def name(self) -> str:
        """The name requests use."""
        ...

    @property
    def version(self) -> str:
        """The name and a hash of the rules and parameters."""
        ...

    @property
    def model(self) -> str | None:
        """Name of the trained model it computes with, which is the policy's own; None for none."""
        ...

    def terms(self, rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView) -> Terms | None:
        """Return what the relevance of ``rows`` is made of, to explain it; None for a policy without a model."""
        ...

    def slates(self, asked: Sequence[Asked], catalogue: Catalogue, statistics: StatisticsView) -> list[Slate]:
        """Return the slate of each request; none depends on the others.

        Args:
            asked: the requests, the users being on ``catalogue``, B of them.
            catalogue: the items.
            statistics: item statistics, aligned with ``catalogue``.

        Raises:
            ValueError: if a profile or the statistics do not belong to a catalogue of this shape.
            ModelUnavailable: the policy needs a model that the catalogue has not.
        """
        ...

    def slate(
        self,
        request: SlateRequest,
        profile: Profile,
        catalogue: Catalogue,
        statistics: StatisticsView,
        draws: Draws,
    ) -> Slate:
        """Return the slate of one request, as :meth:`slates` does."""
        ...
