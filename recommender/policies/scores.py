"""Scores with the parts they are made of, and the rules that make them from relevance, novelty and bonus.

A rule is a pure function of one user, the catalogue and the item statistics. The score of an item depends on none of
the other rows asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.catalogue import Catalogue
from recommender.policies.settings import PolicySettings
from recommender.profile import Profile
from recommender.statistics import StatisticsView
from recommender.topk import reference_scores


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of M rows and their parts, each of shape [M].

    Attributes:
        score: ``relevance * novelty + bonus``, and what ``untried`` says.
        relevance: what the item is worth to the user.
        novelty: what share of it is left.
        bonus: what trying it is worth; 0 for an untried item.
        untried: True for items whose bonus is infinite; None for rules without such items.
        lift: what an untried item's ``relevance * novelty`` is raised by, to stand above every tried item;
            None where untried items all score alike.
        distance: from what the policy looks for, :data:`~recommender.rl.distances.FARTHEST` where an item has no
            vector; None for rules without distances.
    """

    score: Floats
    relevance: Floats
    novelty: Floats
    bonus: Floats
    untried: Flags | None = None
    lift: float | None = None
    distance: Floats | None = None

    def at(self, positions: Integers) -> "Scores":
        """Return the scores of some rows, in the order given."""
        return Scores(
            self.score[positions],
            self.relevance[positions],
            self.novelty[positions],
            self.bonus[positions],
            None if self.untried is None else self.untried[positions],
            self.lift,
            None if self.distance is None else self.distance[positions],
        )

    def parts(self) -> list[dict[str, Any]]:
        """Return the parts of each row, as answers carry them."""
        columns = zip(self.relevance.tolist(), self.novelty.tolist(), self.bonus.tolist(), strict=True)
        parts: list[dict[str, Any]] = [
            {"relevance": relevance, "novelty": novelty, "bonus": bonus} for relevance, novelty, bonus in columns
        ]
        if self.distance is not None:
            for own, distance in zip(parts, self.distance.tolist(), strict=True):
                own["distance"] = distance
        if self.untried is not None:
            for own, untried in zip(parts, self.untried.tolist(), strict=True):
                own["untried"] = untried
                if untried:
                    own["bonus"] = None
                    if self.lift is not None:
                        own["lift"] = self.lift
        return parts


def scores_of_unseen(relevance: Floats) -> Scores:
    """Return the scores of items that a user has not seen, by rules that take nothing from those."""
    return Scores(relevance, relevance, np.ones(len(relevance)), np.zeros(len(relevance)))


ROUNDING_MARGIN = 1.0 + 1e-9
"""What a bound on scores is multiplied by, so that it also bounds their rounded sums."""

Rule = Callable[[Integers, Profile, Catalogue, StatisticsView, PolicySettings], Scores]
"""Catalogue rows [M], user, items, statistics and parameters to scores [M]."""


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """What a policy's relevance is made of at M rows: ``prior + personal = relevance``, bit for bit.

    Attributes:
        prior: what holds for everybody, shape [M].
        personal: what holds for this user, shape [M].
        general: the part of ``personal`` that people in general have, shape [M].
        shares: what each rated item adds to ``personal`` beside ``general``, shape [M, S], to within rounding.
    """

    prior: Floats
    personal: Floats
    general: Floats
    shares: Floats


TermsOf = Callable[[Integers, Profile, Catalogue, StatisticsView, PolicySettings], Terms]
"""As :data:`Rule`, to the terms behind the relevance."""

_SPARSE = 4


def products_at(rows: Integers, theta: Floats, catalogue: Catalogue) -> Floats:
    """Return theta . x at ``rows``, shape [M], 0 where an item has no vector; the same bits for any set of rows."""
    return products_of(rows, theta, catalogue.vectors)


def products_of(rows: Integers, theta: Floats, vectors: Floats) -> Floats:
    """Return theta . x at ``rows`` of ``vectors``, shape [M]; the same bits for any set of rows."""
    if _SPARSE * len(rows) >= len(vectors):
        return np.asarray(reference_scores(theta, vectors)[rows])
    return reference_scores(theta, vectors[rows])


def largest_product(theta: Floats, catalogue: Catalogue) -> float:
    """Return a bound on abs(theta . x) over the catalogue: sum_d abs(theta_d) times the largest coordinate."""
    return float(np.abs(theta).sum()) * catalogue.largest_coordinate
