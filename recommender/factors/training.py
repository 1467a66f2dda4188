"""Item factors, a map from content to factors, and a prior of users, learned from ratings alone.

A rating less what the others' ratings say of the item is a product of a user's and an item's vector:

    r_ui - m_i = theta_u . [1, x_i] + e,   e ~ N(0, sigma^2),   theta_u ~ N(mu, Sigma),   x_i ~ N(W' c_i, I)

m_i is the item's shrunk mean without the user's own rating, c_i its content. Rounds of variational Bayes: the users'
posteriors given the items', the items' given the users', then mu, Sigma and sigma^2 by maximum likelihood and W by
ridge regression. What the ratings do not say of a user or an item stays uncertain, which keeps few ratings from being
over-fitted, and directions that explain nothing lose their variance in Sigma.

One such run depends on where it starts. Several small ones, side by side, with the mean of their priors, err less than
any of them and less than a large one; the factors of all are the item's vector.

Source: Lim and Teh, Variational Bayesian approach to movie rating prediction, KDD Cup 2007; Tipping and Bishop,
Probabilistic principal component analysis, 1999.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.embeddings.layers import Layer
from recommender.factors.content import ContentEncoder
from recommender.factors.model import FactorModel, Prior
from schemas.events import Item

_FIRST_SPREAD, _FIRST_VARIANCE, _FIRST_NOISE = 0.1, 0.3, 0.9


@dataclass(frozen=True, slots=True)
class FactorSettings:
    """How factors are learned.

    Attributes:
        dim: factors of an item, D.
        parts: runs side by side, each of dim/parts factors.
        rounds: of each run.
        ridge: penalty on the map from content to factors.
        title_words: how many titles must have a word for it to be a column; 0 for no words.
        k0: how many ratings the global mean counts for in an item's mean; as the policy has it.
        seed: of where the runs start.

    Raises:
        ValueError: a value is out of its range.
    """

    dim: int = 128
    parts: int = 8
    rounds: int = 15
    ridge: float = 100.0
    title_words: int = 5
    k0: float = 5.0
    seed: int = 7

    def __post_init__(self) -> None:
        for name in ("dim", "parts", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.dim % self.parts:
            raise ValueError(f"dim must be a multiple of parts, {self.parts}, got {self.dim}")
        for name in ("title_words", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("ridge", "k0"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be finite and above 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """Who rated what, each pair once.

    Attributes:
        users: shape [n], in 0..U-1, each of which has a rating.
        rows: of the items, shape [n].
        values: shape [n].
    """

    users: Integers
    rows: Integers
    values: Floats

    @property
    def n_users(self) -> int:
        """How many users there are, U."""
        return int(self.users.max(initial=-1)) + 1


@dataclass(frozen=True, slots=True)
class Round:
    """What a round came to.

    Attributes:
        part: of the runs, from 1.
        number: of the round, from 1.
        noise: variance of what is not explained.
    """

    part: int
    number: int
    noise: float


OnRound = Callable[[Round], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One run: item factors [N, D], the map from content [F, D], and the prior of users on [1, x]."""

    factors: Floats
    content: Floats
    mean: Floats
    covariance: Floats
    noise: float


def train_factors(
    items: Sequence[Item], ratings: Ratings, settings: FactorSettings | None = None, on_round: OnRound | None = None
) -> FactorModel:
    """Return the model of the policy ``linear``; the same input gives the same model.

    Args:
        items: the catalogue, in the order of the rows.
        ratings: of the users to learn from.
        settings: defaults when not given.
        on_round: called after each round.

    Raises:
        ValueError: no item has a genre or a year, or there is no rating.
    """
    settings = settings or FactorSettings()
    if not len(ratings.rows):
        raise ValueError("factors need at least 1 rating, got 0")
    encoder = ContentEncoder.fit(items, settings.title_words or len(items) + 1)
    content = encoder.encode(items)
    surprises = surprises_of(ratings, len(items), settings.k0)
    parts = [_train_part(ratings, surprises, content, settings, part, on_round) for part in range(settings.parts)]
    known = np.unique(ratings.rows)
    layer = Layer(
        np.concatenate([part.content for part in parts], axis=1).T.astype(np.float32),
        np.zeros(settings.dim, dtype=np.float32),
    )
    return FactorModel(
        tuple(items[row].item_id for row in known.tolist()),
        np.concatenate([part.factors for part in parts], axis=1)[known],
        encoder,
        layer,
        _join_priors(parts),
    )


def surprises_of(ratings: Ratings, n_items: int, k0: float) -> Floats:
    """Return each rating less the item's shrunk mean without it, shape [n].

    >>> two = Ratings(np.array([0, 1]), np.array([0, 0]), np.array([5.0, 3.0]))
    >>> surprises_of(two, 1, 5.0).round(4)  # m = 4: 5 - (3 + 20)/6 and 3 - (5 + 20)/6
    array([ 1.1667, -1.1667])
    """
    counts = np.bincount(ratings.rows, minlength=n_items)[ratings.rows]
    sums = np.bincount(ratings.rows, ratings.values, n_items)[ratings.rows]
    means = (sums - ratings.values + k0 * ratings.values.mean()) / (counts - 1 + k0)
    return np.asarray(ratings.values - means)


class _Grouped:
    """Positions of ratings by user or by item."""

    def __init__(self, keys: Integers, size: int) -> None:
        self._order = np.argsort(keys, kind="stable")
        self._starts = np.searchsorted(keys[self._order], np.arange(size + 1))

    def of(self, key: int) -> Integers:
        return np.asarray(self._order[self._starts[key] : self._starts[key + 1]])


def _train_part(
    ratings: Ratings,
    surprises: Floats,
    content: Floats,
    settings: FactorSettings,
    part: int,
    on_round: OnRound | None,
) -> _Part:
    n_items, dim = len(content), settings.dim // settings.parts
    by_user, by_item = _Grouped(ratings.users, ratings.n_users), _Grouped(ratings.rows, n_items)
    factors = _FIRST_SPREAD * np.random.default_rng([settings.seed, part]).normal(size=(n_items, dim))
    spreads = np.zeros((n_items, dim, dim))
    weights: Floats = np.zeros((content.shape[1], dim))
    ridge = content.T @ content + settings.ridge * np.eye(content.shape[1])
    mean: Floats = np.zeros(dim + 1)
    covariance: Floats = _FIRST_VARIANCE * np.eye(dim + 1)
    noise = _FIRST_NOISE
    for number in range(1, settings.rounds + 1):
        users = _meet_users(ratings, surprises, by_user, factors, spreads, mean, covariance, noise)
        mean = users.means.mean(axis=0)
        apart = users.means - mean
        covariance = (users.covariances.sum(axis=0) + apart.T @ apart) / len(apart)
        noise = users.squares / len(surprises)
        _meet_items(ratings, surprises, by_item, users, content @ weights, noise, factors, spreads)
        weights = np.asarray(np.linalg.solve(ridge, content.T @ factors), dtype=np.float64)
        if on_round is not None:
            on_round(Round(part + 1, number, noise))
    return _Part(factors, weights, mean, covariance, noise)


@dataclass(frozen=True, slots=True, eq=False)
class _Users:
    """Posteriors of theta, means [U, E] and covariances [U, E, E], and the expected sum of squared errors."""

    means: Floats
    covariances: Floats
    squares: float


def _meet_users(
    ratings: Ratings,
    surprises: Floats,
    by_user: _Grouped,
    factors: Floats,
    spreads: Floats,
    mean: Floats,
    covariance: Floats,
    noise: float,
) -> _Users:
    """Return what is known of the users, given the items' factors and how far these are known."""
    n_users, size = ratings.n_users, len(mean)
    precision = np.linalg.inv(covariance)
    means, covariances, squares = np.empty((n_users, size)), np.empty((n_users, size, size)), 0.0
    for user in range(n_users):
        own = by_user.of(user)
        rows, y = ratings.rows[own], surprises[own]
        x = np.concatenate((np.ones((len(own), 1)), factors[rows]), axis=1)
        spread = np.zeros((size, size))
        spread[1:, 1:] = spreads[rows].sum(axis=0)
        second = x.T @ x + spread
        covariances[user] = np.linalg.inv(precision + second / noise)
        means[user] = covariances[user] @ (precision @ mean + x.T @ y / noise)
        error = y - x @ means[user]
        squares += error @ error + (covariances[user] * second).sum() + means[user] @ spread @ means[user]
    return _Users(means, covariances, float(squares))


def _meet_items(
    ratings: Ratings,
    surprises: Floats,
    by_item: _Grouped,
    users: _Users,
    expected: Floats,
    noise: float,
    factors: Floats,
    spreads: Floats,
) -> None:
    """Write what is known of the items, given the users' posteriors: ``factors`` and ``spreads``."""
    seconds = users.covariances + users.means[:, :, np.newaxis] * users.means[:, np.newaxis, :]
    unit = np.eye(factors.shape[1])
    for row in range(len(factors)):
        given = by_item.of(row)
        raters = ratings.users[given]
        second = seconds[raters].sum(axis=0)
        spreads[row] = np.linalg.inv(second[1:, 1:] / noise + unit)
        told = users.means[raters, 1:].T @ surprises[given] - second[1:, 0]
        factors[row] = spreads[row] @ (told / noise + expected[row])


def _join_priors(parts: Sequence[_Part]) -> Prior:
    """Return the prior on all parts' factors side by side: its products are the means of the parts' own."""
    sizes = [part.factors.shape[1] for part in parts]
    size = 1 + sum(sizes)
    mean, covariance = np.zeros(size), np.zeros((size, size))
    start = 1
    for part, own in zip(parts, sizes, strict=True):
        places = np.concatenate(([0], np.arange(start, start + own)))
        mean[places] += part.mean / len(parts)
        covariance[np.ix_(places, places)] += part.covariance / len(parts)
        start += own
    covariance = ((covariance + covariance.T) / 2).astype(np.float32).astype(np.float64)
    noise = float(np.mean([part.noise for part in parts]))
    return Prior(mean.astype(np.float32).astype(np.float64), covariance, noise)
