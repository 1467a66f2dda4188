"""Item vectors out of factors, for the policies that rank by item vectors instead of a model of their own."""

from collections.abc import Sequence

import numpy as np

from recommender.arrays import Floats
from recommender.embeddings.layers import Layer
from recommender.embeddings.model import EmbeddingModel
from recommender.factors.model import FactorModel
from recommender.factors.training import FactorSettings, Ratings, train_factors
from recommender.ranking.log import RatingLog
from schemas.codec import RATING_QUANTUM
from schemas.events import Item

KIND = "factors"


def embed_factors(model: FactorModel, items: Sequence[Item], ridge: float) -> EmbeddingModel:
    """Return unit vectors whose products say how far tastes for two items go together.

    z_i = L' x_i with L L' the prior's covariance of tastes without the intercept, so that z_i . z_j = x_i' L L' x_j; of
    length one, these are correlations. A new item gets its vector from genres and year by ridge regression, as every
    item vector does; words of titles serve the policy ``linear`` only.

    Args:
        model: the factors.
        items: the catalogue; those the model knows are kept in the release, D of the model's own.
        ridge: penalty on the regression.

    Raises:
        ModelError: an item stands twice.
    """
    known = set(model.item_ids)
    kept = [item for item in items if item.item_id in known]
    values, axes = np.linalg.eigh(model.prior.covariance[1:, 1:])
    z = model.factors_for(kept) @ (axes * np.sqrt(np.maximum(values, 0.0)))
    lengths = np.sqrt((z * z).sum(axis=1, keepdims=True))
    unit = z / np.where(lengths > 0.0, lengths, np.inf)
    features = model.content.features
    columns = features.encode(kept).astype(np.float64)
    weights = np.linalg.solve(columns.T @ columns + ridge * np.eye(features.size), columns.T @ unit)
    layer = Layer(weights.T.astype(np.float32), np.zeros(model.dim, dtype=np.float32))
    return EmbeddingModel(KIND, tuple(item.item_id for item in kept), unit, features, (layer,))


def newest_ratings(log: RatingLog) -> Ratings:
    """Return the newest rating of each user and item; users are numbered anew, without holes.

    >>> log = RatingLog(np.array([4, 4]), np.array([1, 1]), np.array([10_000, 50_000]), "abcde", 2)
    >>> newest_ratings(log).values
    array([5.])
    """
    pairs = log.users * log.size + log.rows
    newest = len(log) - 1 - np.unique(pairs[::-1], return_index=True)[1]
    _, users = np.unique(log.users[newest], return_inverse=True)
    return Ratings(users, log.rows[newest], log.ratings[newest] / RATING_QUANTUM)


def embed_log(log: RatingLog, items: Sequence[Item], settings: FactorSettings) -> Floats:
    """Return the item vectors of factors learned from a log, zero where nothing is known of an item, shape [N, D].

    Raises:
        ValueError: no item has a genre or a year, or there is no rating.
    """
    model = train_factors(items, newest_ratings(log), settings)
    return embed_factors(model, items, settings.ridge).vectors_for(items)[0]
