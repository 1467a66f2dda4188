"""The experiment as the notebook has it: one user at a time, one film at a time, films in a data frame.

The rules are those of the contract's compat mode; only what is drawn is drawn by key, so that a run can be compared.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recommender.draws import Draws

Vector = np.ndarray


@dataclass(frozen=True, slots=True)
class LoopStep:
    """One step of one user."""

    item_id: str
    rating: float
    explored: bool
    sq_error: float
    regret: float


def dot_in_order(theta: Iterable[float], x: Iterable[float]) -> float:
    """Return theta . x, added up over d = 0..D-1 in order, as the contract's reference score is."""
    total = 0.0
    for a, b in zip(theta, x, strict=True):
        total += float(a) * float(b)
    return total


class Loop:
    """The notebook's experiment for one user.

    Args:
        policy: name of a ``_compat`` policy.
        s: memory of novelty.
        epsilon: chance of a uniform draw.
        dot: the product of two vectors.
    """

    def __init__(self, policy: str, s: float, epsilon: float, dot: Callable[[Vector, Vector], float] = np.dot) -> None:
        self.policy, self.s, self.epsilon, self.dot = policy, s, epsilon, dot

    def run(
        self, movies: pd.DataFrame, ratings: Mapping[str, float], steps: int, draws_at: Callable[[int], Draws]
    ) -> Iterator[LoopStep]:
        """Yield the steps of a user.

        Args:
            movies: the candidates: item_id as index, a column a coordinate.
            ratings: the user's rating by item_id.
            steps: T.
            draws_at: the draws of a step.
        """
        dim = movies.shape[1]
        movies = movies.copy()
        movies.insert(0, "last_t", 1)
        movies.insert(0, "Nt", 0)
        theta = np.zeros(dim)
        unseen = dict(ratings)
        for t in range(steps):
            item_id, explored = self.choose(theta, movies, t + 1, draws_at(t))
            r, x = ratings[item_id], movies.loc[item_id].to_numpy()[-dim:]
            theta = t / (t + 1) * theta + 1 / (t + 1) * (r * x)
            predicted = self.dot(theta, x) * (1 - math.exp(-(t + 1) / self.s))
            unseen.pop(item_id, None)
            yield LoopStep(item_id, r, explored, (r - predicted) ** 2, max(unseen.values(), default=r) - r)
            movies.loc[item_id, "last_t"] = t
            movies.loc[item_id, "Nt"] += 1

    def choose(self, theta: Vector, movies: pd.DataFrame, epoch: int, draws: Draws) -> tuple[str, bool]:
        """Return the item and whether the uniform draw picked it."""
        if self.policy == "random_compat":
            return self._draw(movies, draws), True
        if self.policy == "epsilon_greedy_compat" and draws.uniform(0) < self.epsilon:
            return self._draw(movies, draws), True
        if self.policy == "ucb_compat" and (movies["Nt"] == 0).any():
            return str(movies.index[movies["Nt"] == 0][0]), False
        scores = np.zeros(len(movies))
        for i, (_, movie) in enumerate(movies.iterrows()):
            x = movie.to_numpy()[2:]
            scores[i] = self.dot(theta, x) * (1 - math.exp(-(epoch - movie["last_t"]) / self.s))
            if movie["Nt"] > 0:
                scores[i] += math.sqrt(2 * math.log2(epoch + 1) / (movie["Nt"] * epoch))
        return str(movies.index[scores.argmax()]), False

    @staticmethod
    def _draw(movies: pd.DataFrame, draws: Draws) -> str:
        return str(movies.index[draws.integer(0, len(movies))])
