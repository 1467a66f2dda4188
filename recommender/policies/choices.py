"""Slot by slot: with probability epsilon a uniform draw from what is left, else the best of what is left."""

from dataclasses import dataclass

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.draws import BELIEF, Draws


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """Positions chosen among n, with the probability of each slot given those before it; each of shape [K]."""

    positions: Integers
    propensities: Floats
    explored: Flags


class Remaining:
    """The positions 0..n-1 of which some are gone, with a numbering of those left; both ways in constant time.

    The numbering starts as the positions themselves; the last number moves to a hole.

    >>> left = Remaining(3)
    >>> left.remove(0)
    >>> left.size, left.at(0), left.at(1)
    (2, 2, 1)
    """

    def __init__(self, n: int) -> None:
        self.size = n
        self._at: dict[int, int] = {}
        self._number_of: dict[int, int] = {}

    def at(self, number: int) -> int:
        """Return the position with a number in [0, size)."""
        return self._at.get(number, number)

    def remove(self, position: int) -> None:
        """Take away a position that is left."""
        self.size -= 1
        hole, moved = self._number_of.get(position, position), self.at(self.size)
        self._at[hole] = moved
        self._number_of[moved] = hole


def choose_best(best: Integers) -> Choices:
    """Return the positions of ``best`` in order, each for certain."""
    return Choices(best, np.ones(len(best)), np.zeros(len(best), dtype=np.bool_))


def choose_among_ties(best: Integers, scores: Floats, shuffled: Flags) -> Choices:
    """Return the positions of ``best`` in order, when a random order decided ties among ``shuffled`` positions.

    Given the slots before it, such a position had the chance 1/g, g of the g equal best ones being left.

    Args:
        best: positions in order of score and ties, shape [K].
        scores: scores of all positions, shape [M]; shuffled positions tie only among themselves.
        shuffled: whose ties were decided at random, shape [M].
    """
    values, sizes = np.unique(scores[shuffled], return_counts=True)
    left = dict(zip(values.tolist(), sizes.tolist(), strict=True))
    propensities = np.ones(len(best))
    for slot in np.flatnonzero(shuffled[best]).tolist():
        value = float(scores[best[slot]])
        propensities[slot] = 1.0 / left[value]
        left[value] -= 1
    return Choices(best, propensities, np.zeros(len(best), dtype=np.bool_))


def choose_uniformly(n: int, k: int, draws: Draws) -> Choices:
    """Return min(k, n) positions drawn without replacement, each slot with probability 1/n_left; no coin."""
    k = min(k, n)
    left = Remaining(n)
    positions = np.empty(k, dtype=np.int64)
    for slot in range(k):
        position = left.at(draws.integer(slot, left.size))
        left.remove(position)
        positions[slot] = position
    return Choices(positions, 1.0 / np.arange(n, n - k, -1), np.ones(k, dtype=np.bool_))


def choose_epsilon_greedily(n: int, best: Integers, epsilon: float, draws: Draws) -> Choices:
    """Return one position a slot: explored with probability epsilon, else the best left.

    propensity = epsilon/n_left + (1 - epsilon)[position is the best left]

    Args:
        n: how many positions there are.
        best: the best of them in order, as many as there are slots, shape [K].
        epsilon: in [0, 1]. A slot explores when its coin is below it.
        draws: the draws of this request.
    """
    k = len(best)
    left = Remaining(n)
    ranked = best.tolist()
    taken: set[int] = set()
    next_best = 0
    positions, propensities, explored = np.empty(k, dtype=np.int64), np.empty(k), np.zeros(k, dtype=np.bool_)
    for slot in range(k):
        while ranked[next_best] in taken:
            next_best += 1
        position = ranked[next_best]
        if draws.uniform(slot) < epsilon:
            explored[slot] = True
            position = left.at(draws.integer(slot, left.size))
        positions[slot] = position
        propensities[slot] = epsilon / left.size + (1.0 - epsilon) * (position == ranked[next_best])
        taken.add(position)
        left.remove(position)
    return Choices(positions, propensities, explored)


def choose_by_beliefs(
    values: Floats, k: int, epsilon: float, draws: Draws, n: int | None = None, kept: Integers | None = None
) -> Choices:
    """Return one position a slot: explored with probability epsilon, else the best left by one belief drawn uniformly.

    propensity = epsilon/n_left + (1 - epsilon) count/S,  count of the S beliefs that name the position the best left

    Args:
        values: what each belief says of each position, shape [M, S]; of equal ones the first position is the best.
        k: how many slots; min(k, n) are filled.
        epsilon: in [0, 1]. A slot explores when its coin is below it.
        draws: the draws of this request.
        n: how many positions there are; M when not given.
        kept: the positions that ``values`` speak of, ascending, where these are not all: each belief's k best are
            among them.
    """
    n_beliefs, n = values.shape[1], len(values) if n is None else n
    k = min(k, n)
    ranked = np.argsort(-values, axis=0, kind="stable")[:k].T
    ranked = ranked if kept is None else kept[ranked]
    left, taken = Remaining(n), np.zeros(n, dtype=np.bool_)
    next_best = np.zeros(n_beliefs, dtype=np.int64)
    beliefs = np.arange(n_beliefs)
    positions, propensities, explored = np.empty(k, dtype=np.int64), np.empty(k), np.zeros(k, dtype=np.bool_)
    for slot in range(k):
        while (behind := taken[ranked[beliefs, next_best]]).any():
            next_best[behind] += 1
        best = ranked[beliefs, next_best]
        position = int(best[draws.integer(slot, n_beliefs, BELIEF)])
        if draws.uniform(slot) < epsilon:
            explored[slot] = True
            position = left.at(draws.integer(slot, left.size))
        share = np.count_nonzero(best == position) / n_beliefs
        positions[slot] = position
        propensities[slot] = epsilon / left.size + (1.0 - epsilon) * share
        taken[position] = True
        left.remove(position)
    return Choices(positions, propensities, explored)
