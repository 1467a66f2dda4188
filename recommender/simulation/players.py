"""A policy at work on a block of users: which of each user's candidates it picks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.draws import BatchDraws, Draws
from recommender.novelty import novelty
from recommender.policies.bandit import BanditPolicy
from recommender.profile import update_mean
from recommender.simulation.rules import BATCH_RULES, BatchScores, products
from recommender.simulation.table import Table


@dataclass(frozen=True, slots=True, eq=False)
class Picks:
    """One candidate of each user; what stands where a user does not play means nothing.

    Attributes:
        columns: of the block, shape [B].
        scores: as the policy gives them, NaN where it gives none, shape [B].
        explored: whether the uniform draw picked it, shape [B].
        relevance: what the policy expects the rating to be, before it is known, shape [B].
    """

    columns: Integers
    scores: Floats
    explored: Flags
    relevance: Floats


class Player(Protocol):
    """A policy at work on one block."""

    def choose(self, table: Table, plays: Flags) -> Picks:
        """Return one open candidate of each user who plays.

        Args:
            table: the users' state.
            plays: which users have an open candidate, shape [B].
        """
        ...

    def learn(self, table: Table, x: Floats, ratings: Floats) -> Floats:
        """Return the mean features after the users' ratings of items, shape [B, D]; ``table.t`` is still t.

        Args:
            table: the users' state before.
            x: vectors of the items, shape [B, D].
            ratings: shape [B].
        """
        ...

    def predict(self, table: Table, theta: Floats, x: Floats) -> Floats:
        """Return the notebook's prediction of a rating just given, from the features learned from it, shape [B].

        Args:
            table: the users' state before.
            theta: the mean features after, shape [B, D].
            x: vectors of the items, shape [B, D].
        """
        ...


class BanditPlayer:
    """One of the project's own policies on a block.

    Args:
        policy: the policy.
        seed: of every draw.
        user_ids: ids of the block's users.
    """

    def __init__(self, policy: BanditPolicy, seed: int, user_ids: Sequence[str]) -> None:
        self._policy = policy
        self._rule = BATCH_RULES[policy.rule]
        self._seed = seed
        self._user_ids = user_ids
        starts = [name_step(seed, policy.name, user_id, "") for user_id in user_ids]
        self._draws = BatchDraws(seed, [user for user, _ in starts], [request for _, request in starts])

    def choose(self, table: Table, plays: Flags) -> Picks:
        """Return the pick of each user; see :meth:`Player.choose`."""
        settings, exploration = self._policy.settings, self._policy.exploration
        if exploration.kind == "always":
            columns = self._draw_columns(table, np.flatnonzero(plays), np.zeros(len(plays), dtype=np.int64))
            scores = self._rule(table.cells_at(columns), table, settings)
            return Picks(columns, scores.score[:, 0], plays, scores.relevance[:, 0])
        scores = self._rule(table.cells, table, settings)
        columns = self._best(scores, table)
        explored = np.zeros(len(plays), dtype=np.bool_)
        if epsilon := exploration.epsilon_at(table.t, None):
            explored = plays & (self._coins(table.t, plays) < epsilon)
            columns = self._draw_columns(table, np.flatnonzero(explored), columns)
        chosen = np.arange(len(columns)), columns
        return Picks(columns, scores.score[chosen], explored, scores.relevance[chosen])

    def learn(self, table: Table, x: Floats, ratings: Floats) -> Floats:
        """Return the iterative mean of r x; see :meth:`Player.learn`."""
        return update_mean(table.theta, table.t, ratings[:, np.newaxis] * x)

    def predict(self, table: Table, theta: Floats, x: Floats) -> Floats:
        """Return theta . x (1 - exp(-(t + 1)/s)); see :meth:`Player.predict`."""
        return predict_compat(theta, x, table.t, self._policy.settings.s)

    def _best(self, scores: BatchScores, table: Table) -> Integers:
        """Return the column of each user's best open candidate; the first of equal ones, but for shuffled ties."""
        score = np.where(table.is_open, scores.score, -np.inf)
        best = np.asarray(score.argmax(axis=1))
        if not self._policy.shuffles_untried or scores.untried is None:
            return best
        users = np.arange(len(best))
        hashes = table.block.hashes
        for user in np.flatnonzero(scores.untried[users, best] & table.is_open[users, best]).tolist():
            ties = np.flatnonzero(score[user] == score[user, best[user]])
            draws = draws_of(self._seed, self._policy.name, self._user_ids[user], table.t)
            keys = draws.tie_keys(hashes[user, ties])
            best[user] = ties[np.argmin(keys)]
        return best

    def _coins(self, t: int, plays: Flags) -> Floats:
        coins = np.ones(len(plays))
        users = np.flatnonzero(plays)
        coins[users] = self._draws.uniforms(users.tolist(), str(t), slot=0)
        return coins

    def _draw_columns(self, table: Table, users: Integers, columns: Integers) -> Integers:
        """Return ``columns`` with a uniform draw from what is open for ``users``."""
        n_open = table.n_open[users].tolist()
        numbers = np.array(self._draws.integers(users.tolist(), str(table.t), 0, n_open), dtype=np.int64)
        drawn = columns.copy()
        if table.repeats:  # all candidates are open: a number is a column
            drawn[users] = numbers
        else:
            reached = np.cumsum(table.is_open[users], axis=1) > numbers[:, np.newaxis]
            drawn[users] = reached.argmax(axis=1)
        return drawn


def name_step(seed: int, policy: str, user_id: str, step: int | str) -> tuple[str, str]:
    """Return the user and the request that a step draws as.

    >>> name_step(7, "greedy_compat", "u", 3)
    ('greedy_compat/u', '7/greedy_compat/u/3')
    """
    return f"{policy}/{user_id}", f"{seed}/{policy}/{user_id}/{step}"


def draws_of(seed: int, policy: str, user_id: str, step: int) -> Draws:
    """Return the draws of a step."""
    return Draws(seed, *name_step(seed, policy, user_id, step))


def predict_compat(theta: Floats, x: Floats, t: int, s: float) -> Floats:
    """Return theta . x (1 - exp(-(t + 1)/s)) of each user, shape [B].

    Args:
        theta: shape [B, D].
        x: shape [B, D].
        t: steps before the one that is predicted.
        s: memory of novelty.
    """
    return products(theta, x.T[..., np.newaxis])[:, 0] * novelty(t + 1, 0, s)
