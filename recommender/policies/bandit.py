"""The policies of bandit.md: a rule that scores and a way to explore."""

import math
from dataclasses import dataclass, replace
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
from recommender.policies.protocol import Slate, SlateRequest
from recommender.policies.scores import Rule, Scores, Terms, TermsOf
from recommender.policies.search import Shortlist
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
        shortlist: finds in a large catalogue what can be among the best; None for rules without such a search.
        model: name of the trained model that the rule computes with; None for rules without one.
        terms_of: what the relevance of such a rule is made of.
    """

    name: str
    version: str
    settings: PolicySettings
    rule: Rule
    exploration: Exploration
    shuffles_untried: bool = False
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
        if profile.theta.shape != (catalogue.dim,):
            raise ValueError(f"theta must have shape [{catalogue.dim}], got {profile.theta.shape}")
        if statistics.counts.shape != (catalogue.size,):
            raise ValueError(f"statistics must have shape [{catalogue.size}], got {statistics.counts.shape}")
        return self.rule(rows, profile, catalogue, statistics, self.settings)

    def slate(
        self,
        request: SlateRequest,
        profile: Profile,
        catalogue: Catalogue,
        statistics: StatisticsView,
        draws: Draws,
    ) -> Slate:
        """Return the slate; see :meth:`recommender.policies.protocol.Policy.slate`."""
        n = len(request.rows)
        epsilon = self.exploration.epsilon_at(profile.t, request.epsilon)
        if self.exploration.kind == "always":
            choices = choose_uniformly(n, request.k, draws)
            scores = self.score(request.rows[choices.positions], profile, catalogue, statistics)
            return _build_slate(request, scores, np.arange(len(choices.positions)), choices, epsilon)
        kept = None
        if self.shortlist is not None:
            kept = self.shortlist(request, profile, catalogue, statistics, self.settings)
        rows = np.asarray(request.rows) if kept is None else request.rows[kept]
        scores = self.score(rows, profile, catalogue, statistics)
        shuffled = scores.untried if self.shuffles_untried else None
        if shuffled is not None and shuffled.any():
            best = top_k(scores.score, _shuffle(rows, shuffled, catalogue, draws), request.k)
            choices = choose_among_ties(best, scores.score, shuffled)
        else:
            best = top_k(scores.score, None, request.k)
            choices = choose_best(best)
        if kept is not None:
            choices = replace(choices, positions=kept[best])
        if epsilon:
            choices = choose_epsilon_greedily(n, choices.positions, epsilon, draws)
        if not choices.explored.any():
            return _build_slate(request, scores, best, choices, epsilon)
        if kept is None:
            return _build_slate(request, scores, choices.positions, choices, epsilon)
        scores = self.score(request.rows[choices.positions], profile, catalogue, statistics)
        return _build_slate(request, scores, np.arange(len(choices.positions)), choices, epsilon)


def _shuffle(rows: Integers, shuffled: Flags, catalogue: Catalogue, draws: Draws) -> Hashes:
    """Return a tie order, shape [M]: random among ``shuffled`` rows, the given one among the others."""
    order = np.arange(len(rows), dtype=np.uint64)
    order[shuffled] = draws.tie_keys(catalogue.hashes[rows[shuffled]])
    return order


def _build_slate(
    request: SlateRequest, scores: Scores, picks: Integers, choices: Choices, epsilon: float | None
) -> Slate:
    """Return the slate of ``choices``, whose scores stand at ``picks``."""
    return Slate(
        rows=request.rows[choices.positions],
        scores=scores.score[picks],
        propensities=choices.propensities,
        explored=choices.explored,
        parts=[scores.parts_at(pick) for pick in picks.tolist()],
        slate_propensity=math.prod(choices.propensities.tolist()),
        propensity_kind="exact",
        epsilon=epsilon,
    )
