import numpy as np
import pytest

from recommender.factors.embedding import embed_factors
from recommender.factors.training import FactorSettings, Ratings, train_factors
from schemas.events import Item

ITEMS = [Item(item_id=f"i{row}", genres=(("Drama", "War")[row % 2],)) for row in range(40)]


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(1)
    users, rows = np.nonzero(rng.random((60, 39)) < 0.4)
    values = 3.0 + np.where((users + rows) % 2 == 0, 1.0, -1.0) + rng.normal(scale=0.3, size=len(users))
    settings = FactorSettings(dim=4, parts=2, rounds=5, ridge=1.0, title_words=0)
    return train_factors(ITEMS, Ratings(users.astype(np.int64), rows.astype(np.int64), values), settings)


def test_vectors_are_of_length_one_and_their_products_are_correlations_of_taste(model):
    vectors, has_vector = embed_factors(model, ITEMS, 1.0).vectors_for(ITEMS)
    assert has_vector.all()
    x = model.align(ITEMS[:39]).vectors[:, 1:]
    kernel = x @ model.prior.covariance[1:, 1:] @ x.T
    scale = np.sqrt(np.diag(kernel))
    np.testing.assert_allclose(vectors[:39] @ vectors[:39].T, kernel / np.outer(scale, scale), atol=1e-5)


def test_a_new_item_lies_near_those_of_its_genre(model):
    embedding = embed_factors(model, ITEMS, 1.0)
    assert "i39" not in embedding.item_ids
    (new, drama, war), _ = embedding.vectors_for([Item(item_id="n", genres=("War",)), ITEMS[0], ITEMS[1]])
    assert new @ war > 0.5 > -0.5 > new @ drama
