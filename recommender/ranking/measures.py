"""Measures of rankings: how near the top the item stood that came, with errors over users."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.diversity import Diversity, measure_diversity
from recommender.ranking.next_item import LIST_LENGTH, Predictions


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over predictions.

    Attributes:
        mean: over all of them.
        error: its standard error over users, nan for fewer than two users.
    """

    mean: float
    error: float


def gains(ranks: Integers) -> Mapping[str, Floats]:
    """Return what each prediction is worth by each measure, shape [P].

    With one item to find, at rank r counted from 0: NDCG@10 = 1/log2(r + 2) if r < 10 else 0; hit@10 = 1 if r < 10;
    MRR = 1/(r + 1) over the whole ranking. Jarvelin and Kekalainen 2002, doi:10.1145/582415.582418.

    >>> {name: values.round(3).tolist() for name, values in gains(np.array([0, 2, 10])).items()}
    {'ndcg@10': [1.0, 0.5, 0.0], 'hit@10': [1.0, 1.0, 0.0], 'mrr': [1.0, 0.333, 0.091]}
    """
    is_hit = ranks < LIST_LENGTH
    return {
        "ndcg@10": np.where(is_hit, 1.0 / np.log2(ranks + 2.0), 0.0),
        "hit@10": is_hit.astype(np.float64),
        "mrr": 1.0 / (ranks + 1.0),
    }


def estimate(values: Floats, users: Integers) -> Estimate:
    """Return the mean of ``values`` and its standard error over users.

    A user's predictions hang together, so users are what is drawn: with S_u the sum and n_u the number of user u's
    values, mean = sum S_u / sum n_u is a ratio, and its error by the linearised variance of a ratio

        error = sqrt(U/(U - 1) sum_u (S_u - n_u mean)^2) / sum_u n_u

    Source: Cochran, Sampling Techniques, 1977, section 6.4 (without the finite population correction).

    Args:
        values: one a prediction, shape [P].
        users: whose it was, shape [P].

    >>> estimate(np.array([3.0, 0.0, 0.0]), np.array([4, 4, 7])).error  # sqrt(2/1 (1^2 + 1^2)) / 3
    0.6666666666666666
    """
    if not len(values):
        return Estimate(math.nan, math.nan)
    _, places = np.unique(users, return_inverse=True)
    sums, sizes = np.bincount(places, weights=values), np.bincount(places)
    mean = float(values.mean())
    n = len(sums)
    if n < 2:  # noqa: PLR2004 - one user has no spread
        return Estimate(mean, math.nan)
    squares = float(((sums - sizes * mean) ** 2).sum())
    return Estimate(mean, math.sqrt(n / (n - 1) * squares) / len(values))


@dataclass(frozen=True, slots=True)
class Report:
    """A ranker's measures.

    Attributes:
        everyone: estimates by measure, over all predictions.
        known: the same, of users with an event before the cut.
        new: the same, of users without one.
        diversity: of the lists of ten.
        predictions: how many there were.
        users: of how many users.
    """

    everyone: Mapping[str, Estimate]
    known: Mapping[str, Estimate]
    new: Mapping[str, Estimate]
    diversity: Diversity
    predictions: int
    users: int


def report(predictions: Predictions, vectors: Floats) -> Report:
    """Return the measures of predictions; ``vectors`` [N, D], of length one, give the distances within lists."""
    worth = gains(predictions.ranks)

    def over(chosen: Flags) -> dict[str, Estimate]:
        return {name: estimate(values[chosen], predictions.users[chosen]) for name, values in worth.items()}

    return Report(
        everyone=over(np.ones(len(predictions.ranks), dtype=np.bool_)),
        known=over(predictions.is_known),
        new=over(~predictions.is_known),
        diversity=measure_diversity(predictions.lists, vectors),
        predictions=len(predictions.ranks),
        users=len(np.unique(predictions.users)),
    )


def compare(one: Predictions, other: Predictions, measure: str = "ndcg@10") -> Estimate:
    """Return the mean difference of two rankers on the same events, and its standard error over users.

    Raises:
        ValueError: the events differ.
    """
    if not np.array_equal(one.events, other.events):
        raise ValueError(f"rankers must be compared on the same events, got {len(one.events)} and {len(other.events)}")
    return estimate(gains(one.ranks)[measure] - gains(other.ranks)[measure], one.users)
