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
    """

    score: Floats
    relevance: Floats
    novelty: Floats
    bonus: Floats
    untried: Flags | None = None
    lift: float | None = None

    def at(self, positions: Integers) -> "Scores":
        """Return the scores of some rows, in the order given."""
        return Scores(
            self.score[positions],
            self.relevance[positions],
            self.novelty[positions],
            self.bonus[positions],
            None if self.untried is None else self.untried[positions],
            self.lift,
        )

    def parts(self) -> list[dict[str, Any]]:
        """Return the parts of each row, as answers carry them."""
        columns = zip(self.relevance.tolist(), self.novelty.tolist(), self.bonus.tolist(), strict=True)
        parts: list[dict[str, Any]] = [
            {"relevance": relevance, "novelty": novelty, "bonus": bonus} for relevance, novelty, bonus in columns
        ]
        if self.untried is not None:
            for own, untried in zip(parts, self.untried.tolist(), strict=True):
                own["untried"] = untried
                if untried:
                    own["bonus"] = None
                    if self.lift is not None:
                        own["lift"] = self.lift
        return parts


ROUNDING_MARGIN = 1.0 + 1e-9
"""What a bound on scores is multiplied by, so that it also bounds their rounded sums."""

Rule = Callable[[Integers, Profile, Catalogue, StatisticsView, PolicySettings], Scores]
"""Catalogue rows [M], user, items, statistics and parameters to scores [M]."""

_SPARSE = 4


def products_at(rows: Integers, theta: Floats, catalogue: Catalogue) -> Floats:
    """Return theta . x at ``rows``, shape [M], 0 where an item has no vector; the same bits for any set of rows."""
    if _SPARSE * len(rows) >= catalogue.size:
        return np.asarray(reference_scores(theta, catalogue.vectors)[rows])
    return reference_scores(theta, catalogue.vectors[rows])


def largest_product(theta: Floats, catalogue: Catalogue) -> float:
    """Return a bound on abs(theta . x) over the catalogue: sum_d abs(theta_d) times the largest coordinate."""
    return float(np.abs(theta).sum()) * catalogue.largest_coordinate
