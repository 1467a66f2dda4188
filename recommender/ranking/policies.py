"""A policy of the project as a ranker: the code that answers requests, asked at moments of a log."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from recommender.arrays import Floats, Integers, Records
from recommender.catalogue import Catalogue
from recommender.ledger import ENTRY
from recommender.policies.scores import Scores
from recommender.profile import Profile, Rated, build_profiles
from recommender.ranking.log import Moments, Past
from recommender.statistics import StatisticsView


@runtime_checkable
class ScoringPolicy(Protocol):
    """A policy that scores rows; each score is independent of the other rows."""

    def score(self, rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView) -> Scores:
        """Return the scores of ``rows``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PolicyRanker:
    """Ranks by a policy's scores, without its exploration: with the user's ledger and live item statistics.

    Attributes:
        policy: what scores.
        catalogue: the items, whose rows are those of the log, with the models that the policy needs.
    """

    policy: ScoringPolicy
    catalogue: Catalogue

    def scores(self, moments: Moments) -> Floats:
        """Return the scores; see :class:`recommender.ranking.next_item.Ranker`."""
        users = [Rated(str(past.user), past.t, None, _entries(past, self.catalogue)) for past in moments.pasts]
        profiles = build_profiles(users, self.catalogue)
        everything = np.arange(self.catalogue.size)
        scores = np.empty((len(profiles), self.catalogue.size))
        for own, profile, counts, sums in zip(scores, profiles, moments.counts, moments.sums, strict=True):
            statistics = StatisticsView(counts, sums, int(counts.sum()), int(sums.sum()))
            own[:] = self.policy.score(everything, profile, self.catalogue, statistics).score
        return scores


def _entries(past: Past, catalogue: Catalogue) -> Records:
    """Return the past as a ledger's merged entries, ordered by item."""
    entries = np.empty(len(past.rows), dtype=ENTRY)
    entries["item"] = catalogue.hashes[past.rows]
    entries["count"], entries["last_t"], entries["rating_sum"] = past.counts, past.last_t, past.sums
    return np.sort(entries, order="item")
