import re

import numpy as np
import pytest

from recommender.factors.model import FactorModel, Prior
from recommender.policies import read_policy_model
from schemas.errors import ModelError
from schemas.events import Item
from tests.policy_models import linear_model


@pytest.fixture
def model():
    return linear_model(("a", "b"), np.array([[1.0, 2.0], [3.0, 4.0]]))


def test_a_known_item_keeps_its_factors_and_any_other_gets_those_of_its_content(model):
    weight = model.layer.weight.astype(np.float64)
    items = [
        Item(item_id="b", genres=("Drama",)),
        Item(item_id="new", title="Red", genres=("Drama",)),
        Item(item_id="plain"),
    ]
    assert model.align(items).vectors.tolist() == [
        [1.0, 3.0, 4.0],
        [1.0, *(weight[:, 0] + weight[:, 1]).tolist()],
        [1.0, 0.0, 0.0],
    ]


def test_an_item_described_as_a_new_one_gets_the_same_bits_in_any_company(model):
    alone = model.factors_for([Item(item_id="new", title="Red", genres=("Drama",))])
    many = model.factors_for([Item(item_id=f"n{i}", title="Red", genres=("Drama",)) for i in range(9)])
    assert (many == alone).all()


def test_aligned_vectors_cannot_be_written(model):
    with pytest.raises(ValueError, match="read-only"):
        model.align([Item(item_id="a")]).vectors[0, 0] = 2.0


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"vectors": np.ones((2, 3), np.float32)}, "vectors must have shape (2, 2), got (2, 3)"),
        ({"vectors": np.full((2, 2), np.nan, np.float32)}, "vectors must be finite"),
        ({"vectors": np.ones((2, 2))}, "vectors must be float32"),
        ({"item_ids": np.frombuffer(b'["a","a"]', np.uint8)}, "item ids must be distinct"),
        ({"prior.mean": np.ones(2, np.float32)}, "a prior must have shapes [E] and [E, E], got (2,) and (3, 3)"),
        ({"prior.covariance": -np.eye(3, dtype=np.float32)}, "no eigenvalue below 0, got -1.0"),
        ({"prior.covariance": np.triu(np.ones((3, 3), np.float32))}, "must be symmetric"),
        ({"content.weight": np.ones((2, 3), np.float32)}, "must be mapped from 2 columns to D factors"),
        ({"content.bias": None}, "has no tensor 'content.bias'"),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(model, changed, why):
    tensors, metadata = model.to_tensors()
    tensors = {name: array for name, array in (tensors | changed).items() if array is not None}
    with pytest.raises(ModelError, match=re.escape(why)):
        FactorModel.from_tensors(tensors, metadata)


@pytest.mark.parametrize("noise", [0.0, -1.0, float("inf"), float("nan")])
def test_noise_must_be_above_0(noise):
    with pytest.raises(ModelError, match="noise must be above 0 and finite"):
        Prior(np.zeros(1), np.eye(1), noise)


def test_the_root_makes_the_covariance(model):
    np.testing.assert_allclose(model.prior.root @ model.prior.root.T, model.prior.covariance, atol=1e-6)


def test_a_model_of_another_type_is_refused_under_the_policys_name(model):
    tensors, metadata = model.to_tensors()
    other = {key: value.replace('"type": "linear"', '"type": "sequence"') for key, value in metadata.items()}
    with pytest.raises(ModelError, match="type"):
        read_policy_model("linear", tensors, other)
