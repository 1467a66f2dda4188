"""The policies of bandit.md: a rule that scores and a way to explore."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recommender.arrays import Flags, Hashes, Integers
from recommender.catalogue import Catalogue
from recommender.draws import Draws
from recommender.policies.choices import (
    Choices,
    choose_among_ties,
    choose_best,
    choose_epsilon_greedily,
    choose_uniformly,
)
from recommender.policies.protocol import Asked, Slate, SlateRequest
from recommender.policies.scores import Rule, Scores, Terms, TermsOf, scores_of_unseen
from recommender.policies.search import Found, OrderOf, Shortlist, positions_of, search
from recommender.policies.settings import PolicySettings
from recommender.profile import Profile
from recommender.statistics import StatisticsView
from recommender.topk import top_k


@dataclass(frozen=True, slots=True)
class Exploration:
    """When a slot is drawn uniformly.

    Attributes:
        kind: ``never``; ``always`` (without a coin); ``coin``, a coin on every slot.
        epsilon: the coin's chance.
        decay: ``fixed``, or ``sqrt`` for epsilon / sqrt(e + 1).
    """

    kind: Literal["never", "always", "coin"]
    epsilon: float = 0.0
    decay: Literal["fixed", "sqrt"] = "fixed"

    def epsilon_at(self, t: int, asked: float | None) -> float | None:
        """Return the coin's chance for a user at t, None without a coin; what a request asks for does not decay."""
        if self.kind != "coin":
            return None
        if asked is not None:
            return asked
        return self.epsilon / math.sqrt(t + 2.0) if self.decay == "sqrt" else self.epsilon


@dataclass(frozen=True, slots=True, eq=False)
class BanditPolicy:
    """One policy; see :class:`recommender.policies.protocol.Policy`.

    Attributes:
        name: the name requests use.
        version: the name and a hash of the rules and parameters.
        settings: parameters of the rule.
        rule: what scores.
        exploration: when a slot is drawn uniformly.
        shuffles_untried: whether a seeded random order decides ties among untried items, instead of the given order;
            for policies that never explore.
        order_of: how the rule orders what a user has not seen, where that is an order of inner products.
        shortlist: finds in a large catalogue what can be among the best, where it is not; None for rules without it.
        model: name of the trained model that the rule computes with; None for rules without one.
        terms_of: what the relevance of such a rule is made of.
    """

    name: str
    version: str
    settings: PolicySettings
    rule: Rule
    exploration: Exploration
    shuffles_untried: bool = False
    order_of: OrderOf | None = None
    shortlist: Shortlist | None = None
    model: str | None = None
    terms_of: TermsOf | None = None

    def terms(self, rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView) -> Terms | None:
        """Return what the relevance of ``rows`` is made of; None for a rule without a model."""
        return None if self.terms_of is None else self.terms_of(rows, profile, catalogue, statistics, self.settings)

    def score(self, rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView) -> Scores:
        """Return the scores of ``rows``, shape [M]; each is independent of the other rows.

        Raises:
            ValueError: if profile or statistics do not belong to a catalogue of this shape.
        """
        check_shapes(profile, catalogue, statistics)
        return self.rule(rows, profile, catalogue, statistics, self.settings)

    def slates(self, asked: Sequence[Asked], catalogue: Catalogue, statistics: StatisticsView) -> list[Slate]:
        """Return the slates; see :meth:`recommender.policies.protocol.Policy.slates`."""
        found: Sequence[Found | None] = [None] * len(asked)
        if self.order_of is not None:
            found = search(asked, self.order_of, catalogue, statistics, self.settings)
        return [self._slate(one, own, catalogue, statistics) for one, own in zip(asked, found, strict=True)]

    def slate(
        self,
        request: SlateRequest,
        profile: Profile,
        catalogue: Catalogue,
        statistics: StatisticsView,
        draws: Draws,
    ) -> Slate:
        """Return the slate of one request."""
        return self.slates([Asked(request, profile, draws)], catalogue, statistics)[0]

    def _slate(self, asked: Asked, found: Found | None, catalogue: Catalogue, statistics: StatisticsView) -> Slate:
        request, profile, draws = asked.request, asked.profile, asked.draws
        epsilon = self.exploration.epsilon_at(profile.t, request.epsilon)
        if self.exploration.kind == "always":
            choices = choose_uniformly(len(request.rows), request.k, draws)
            rows = request.rows[choices.positions]
            return build_slate(rows, self.score(rows, profile, catalogue, statistics), choices, epsilon)
        if found is not None and not len(found.seen):
            return _slate_of_unseen(request, found, epsilon, draws)
        rows = self._rows_that_matter(asked, found, catalogue, statistics)
        scores = self.score(rows, profile, catalogue, statistics)
        choices = self._choose_best(rows, scores, request.k, catalogue, draws)
        best = choices.positions
        if epsilon:
            are_all = len(rows) == len(request.rows)
            places = best if are_all else positions_of(rows[best], request.rows)
            choices = choose_epsilon_greedily(len(request.rows), places, epsilon, draws)
            if are_all:
                best = choices.positions
            elif choices.explored.any():
                rows = request.rows[choices.positions]
                return build_slate(rows, self.score(rows, profile, catalogue, statistics), choices, epsilon)
        return build_slate(rows[best], scores.at(best), choices, epsilon)

    def _rows_that_matter(
        self, asked: Asked, found: Found | None, catalogue: Catalogue, statistics: StatisticsView
    ) -> Integers:
        """Return rows of the request, in its order, that give the same slate as all of them."""
        if found is not None:
            return np.union1d(found.rows, found.seen)
        kept = None
        if self.shortlist is not None:
            kept = self.shortlist(asked.request, asked.profile, catalogue, statistics, self.settings)
        return np.asarray(asked.request.rows) if kept is None else kept

    def _choose_best(self, rows: Integers, scores: Scores, k: int, catalogue: Catalogue, draws: Draws) -> Choices:
        shuffled = scores.untried if self.shuffles_untried else None
        if shuffled is None or not shuffled.any():
            return choose_best(top_k(scores.score, None, k))
        best = top_k(scores.score, _shuffle(rows, shuffled, catalogue, draws), k)
        return choose_among_ties(best, scores.score, shuffled)


def check_shapes(profile: Profile, catalogue: Catalogue, statistics: StatisticsView) -> None:
    """Refuse a user or statistics of another catalogue.

    Raises:
        ValueError: naming the shape expected and the one given.
    """
    if profile.theta.shape != (catalogue.dim,):
        raise ValueError(f"theta must have shape [{catalogue.dim}], got {profile.theta.shape}")
    if statistics.counts.shape != (catalogue.size,):
        raise ValueError(f"statistics must have shape [{catalogue.size}], got {statistics.counts.shape}")


def _slate_of_unseen(request: SlateRequest, found: Found, epsilon: float | None, draws: Draws) -> Slate:
    """Return the slate where nothing that is allowed was seen."""
    rows, relevance, choices = found.rows, found.scores, choose_best(np.arange(len(found.rows)))
    if epsilon:
        choices = choose_epsilon_greedily(len(request.rows), positions_of(rows, request.rows), epsilon, draws)
        if choices.explored.any():
            rows = request.rows[choices.positions]
            relevance = found.order.relevance(rows, found.user)
    return build_slate(rows, scores_of_unseen(relevance), choices, epsilon)


def _shuffle(rows: Integers, shuffled: Flags, catalogue: Catalogue, draws: Draws) -> Hashes:
    """Return a tie order, shape [M]: random among ``shuffled`` rows, the given one among the others."""
    order = np.arange(len(rows), dtype=np.uint64)
    order[shuffled] = draws.tie_keys(catalogue.hashes[rows[shuffled]])
    return order


def build_slate(
    rows: Integers,
    scores: Scores,
    choices: Choices,
    epsilon: float | None,
    kind: Literal["exact", "counted"] = "exact",
) -> Slate:
    """Return the slate of ``rows``, whose scores and choices are in this order."""
    return Slate(
        rows=rows,
        scores=scores.score,
        propensities=choices.propensities,
        explored=choices.explored,
        parts=scores.parts(),
        slate_propensity=math.prod(choices.propensities.tolist()),
        propensity_kind=kind,
        epsilon=epsilon,
    )
