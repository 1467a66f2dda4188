"""The experiment as the notebook has it: one user at a time, one film at a time, films in a data frame.

The rules are those of the contract's compat mode; only what is drawn is drawn by key, so that a run can be compared.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recommender.draws import Draws

Features = np.ndarray | pd.Series


@dataclass(frozen=True, slots=True)
class LoopStep:
    """One step of one user."""

    item_id: str
    rating: float
    explored: bool
    sq_error: float
    regret: float


def dot(user_features: Features, movie_features: Features) -> float:
    """Return the product as pandas has it, labels matched."""
    return float(user_features.dot(movie_features))


def dot_in_order(user_features: Features, movie_features: Features) -> float:
    """Return the product added up over d = 0..D-1 in order, as the contract's reference score is."""
    total = 0.0
    for a, b in zip(user_features, movie_features, strict=True):
        total += float(a) * float(b)
    return total


class Loop:
    """The notebook's experiment for one user.

    Args:
        policy: name of a ``_compat`` policy.
        s: memory of novelty.
        epsilon: chance of a uniform draw.
        product: of the user's and a film's features.
    """

    def __init__(
        self, policy: str, s: float, epsilon: float, product: Callable[[Features, Features], float] = dot
    ) -> None:
        self.policy, self.s, self.epsilon, self.product = policy, s, epsilon, product

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
        user_features: Features = np.zeros(dim)
        unseen = dict(ratings)
        for t in range(steps):
            item_id, explored = self.choose(user_features, movies, t + 1, draws_at(t))
            rating, movie_features = ratings[item_id], movies.loc[item_id].iloc[-dim:]
            user_features = t / (t + 1) * user_features + 1 / (t + 1) * (movie_features * rating)
            predicted = self.compute_utility(user_features, movie_features, t + 1)
            unseen.pop(item_id, None)
            best = max(unseen.values(), default=rating)
            yield LoopStep(item_id, rating, explored, (rating - predicted) ** 2, best - rating)
            movies.loc[item_id, "last_t"] = t
            movies.loc[item_id, "Nt"] += 1

    def choose(self, user_features: Features, movies: pd.DataFrame, epoch: int, draws: Draws) -> tuple[str, bool]:
        """Return the item and whether the uniform draw picked it."""
        if self.policy == "random_compat":
            return self._draw(movies, draws), True
        if self.policy == "epsilon_greedy_compat" and draws.uniform(0) < self.epsilon:
            return self._draw(movies, draws), True
        if self.policy == "ucb_compat" and (movies["Nt"] == 0).any():
            return str(movies.index[movies["Nt"] == 0][0]), False
        utilities = np.zeros(len(movies))
        for i, (_, movie) in enumerate(movies.iterrows()):
            movie_features = movie.iloc[-len(user_features) :]
            utilities[i] = self.compute_utility(user_features, movie_features, epoch - movie.last_t)
            if movie.Nt > 0:
                utilities[i] += math.sqrt(2 * math.log2(epoch + 1) / (movie.Nt * epoch))
        return str(movies.index[utilities.argmax()]), False

    def compute_utility(self, user_features: Features, movie_features: Features, epoch: float) -> float:
        """Return what a film is worth to a user."""
        return self.product(user_features, movie_features) * (1 - math.exp(-epoch / self.s))

    @staticmethod
    def _draw(movies: pd.DataFrame, draws: Draws) -> str:
        return str(movies.index[draws.integer(0, len(movies))])
