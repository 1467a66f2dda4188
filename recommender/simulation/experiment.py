"""The experiment: T steps of every user with one policy, and what came of each."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.simulation.people import Block, People, blocks_of
from recommender.simulation.players import Picks, Player
from recommender.simulation.table import NO_RATING, Table
from schemas.codec import RATING_QUANTUM

Mode = Literal["compat", "default"]
MakePlayer = Callable[[Block], Player]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Terms:
    """How the experiment is run.

    Attributes:
        steps: T.
        mode: ``compat``: the notebook's bookkeeping; ``default``: predictions from before the update, regret against
            the best item allowed.
        repeats: whether an item may be chosen again; always in compat mode.

    Raises:
        ValueError: ``steps`` is below 1, or compat mode without repeats.
    """

    steps: int
    mode: Mode = "compat"
    repeats: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.mode == "compat" and not self.repeats:
            raise ValueError("compat mode allows repeats, as the notebook does")


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What came of each user's steps; each of shape [U, T]. Where a user had nothing left: row -1, NaN, False.

    Attributes:
        rows: catalogue row chosen.
        scores: the policy's score of it, NaN where it gives none.
        ratings: the user's rating.
        explored: whether the uniform draw picked it.
        sq_errors: (rating - predicted)^2.
        regrets: what the best item would have given more.
        seconds: time of the step, a user's share of its block's.
    """

    rows: Integers
    scores: Floats
    ratings: Floats
    explored: Flags
    sq_errors: Floats
    regrets: Floats
    seconds: Floats

    @classmethod
    def empty(cls, users: int, steps: int) -> "Outcomes":
        """Return outcomes in which nobody has played yet."""
        shape = users, steps
        nothing = {each.name: np.full(shape, np.nan) for each in fields(cls)}
        nothing |= {"rows": np.full(shape, -1, dtype=np.int64), "explored": np.zeros(shape, dtype=np.bool_)}
        return cls(**nothing)


def simulate(people: People, make_player: MakePlayer, terms: Terms, clock: Clock) -> Outcomes:
    """Return what comes of ``terms.steps`` steps of every user.

    Args:
        people: the users and what they rated.
        make_player: gives the policy at work on a block.
        terms: how the experiment is run.
        clock: seconds, from any start.
    """
    outcomes = Outcomes.empty(len(people.user_ids), terms.steps)
    for block in blocks_of(people):
        player, table = make_player(block), Table(block, repeats=terms.repeats)
        for step in range(terms.steps):
            _take_step(player, table, terms.mode, outcomes, step, clock)
    return outcomes


def _take_step(player: Player, table: Table, mode: Mode, outcomes: Outcomes, step: int, clock: Clock) -> None:
    plays = table.n_open > 0
    if not plays.any():
        return
    start = clock()
    picks = player.choose(table, plays)
    x, ratings = table.vectors_at(picks.columns), table.ratings_at(picks.columns)
    theta = player.learn(table, x, ratings)
    seconds = (clock() - start) / int(plays.sum())
    predicted = player.predict(table, theta, x) if mode == "compat" else picks.relevance
    best = _best_left(table, picks) if mode == "compat" else _best_open(table)
    table.mark(picks.columns, plays)
    table.theta = np.where(plays[:, np.newaxis], theta, table.theta)
    who, users = np.flatnonzero(plays), table.block.users[plays]
    outcomes.rows[users, step] = table.block.rows[who, picks.columns[who]]
    outcomes.scores[users, step] = picks.scores[who]
    outcomes.ratings[users, step] = ratings[who]
    outcomes.explored[users, step] = picks.explored[who]
    outcomes.sq_errors[users, step] = np.square(ratings - predicted)[who]
    outcomes.regrets[users, step] = (best - ratings)[who]
    outcomes.seconds[users, step] = seconds


def _best_left(table: Table, picks: Picks) -> Floats:
    """Return the users' best ratings among what was never chosen, the pick not either; the pick's when none is left."""
    chosen = np.arange(len(picks.columns)), picks.columns
    left = table.unseen_ratings.copy()
    left[chosen] = NO_RATING
    best = left.max(axis=1)
    return np.where(best > NO_RATING, best, table.block.ratings[chosen]) / RATING_QUANTUM


def _best_open(table: Table) -> Floats:
    """Return the users' best ratings among what may be chosen, shape [B]."""
    return np.asarray(np.where(table.is_open, table.block.ratings, NO_RATING).max(axis=1) / RATING_QUANTUM)
