"""Policies as a user of the project may write them; named by `tests.services.lab.own_policies:...`."""

# ruff: noqa: ARG002 - every policy takes what policies are given

import math
import random

import numpy as np


def greedy(items, theta, counts, last_t, epoch):
    """The notebook's greedy, as a function."""
    scores = np.zeros(len(items))
    for d, name in enumerate(items.columns):
        scores += items[name].to_numpy() * theta[d]
    scores *= 1 - np.exp(-(epoch - last_t) / 200.0)
    scores += np.where(counts > 0, np.sqrt(2 * np.log2(epoch + 1.0) / (np.maximum(counts, 1) * epoch)), 0)
    return items.index[scores.argmax()]


class Greedy:
    """The notebook's greedy, as its class."""

    def choice(self, user_features, movies, epoch, s):
        scores = []
        for _, movie in movies.iterrows():
            utility = sum(a * b for a, b in zip(user_features, movie.to_numpy()[2:], strict=True))
            score = utility * (1 - math.exp(-(epoch - movie.last_t) / s))
            scores.append(score + (math.sqrt(2 * math.log2(epoch + 1) / (movie.Nt * epoch)) if movie.Nt > 0 else 0))
        return movies[movies.index == movies.index[np.argmax(scores)]]


class Hooked(Greedy):
    """Keeps nothing but the newest vector, and expects three of everything."""

    def __init__(self):
        self.calls = []

    def update_features(self, user_features, movie_features, rating, t):
        self.calls.append(t)
        assert self.calls == list(range(t + 1)), "every user has an instance of its own"
        return rating * movie_features

    def compute_utility(self, user_features, movie_features, epoch, s):
        return 3.0


class Drawing:
    """Draws from both global generators."""

    def choice(self, user_features, movies, epoch, s):
        return movies.sample() if random.random() < 0.5 else movies.iloc[random.randrange(len(movies))]


class Failing:
    def choice(self, user_features, movies, epoch, s):
        raise RuntimeError("no idea")


def stranger(items, theta, counts, last_t, epoch):
    return "nobody offered this"


class Misshapen(Greedy):
    def update_features(self, user_features, movie_features, rating, t):
        return np.zeros(1)


number = 7
