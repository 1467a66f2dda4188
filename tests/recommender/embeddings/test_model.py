import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer
from recommender.embeddings.model import METADATA_KEY, EmbeddingModel, build_model
from recommender.embeddings.pca import train_pca
from recommender.embeddings.training import PcaSettings
from schemas.errors import ModelError
from schemas.events import Item

GENRES = ("Comedy", "Drama", "Noir", "War")
FEATURES = FeatureEncoder(genres=("Comedy", "Drama"), years=(1990,))
# Comedy gives (3, 4), Drama (0, -2), the year 1990 (1, 0).
LAYER = Layer(np.float32([[3, 0, 1], [4, -2, 0]]), np.float32([0, 0]))
MODEL = EmbeddingModel("pca", ("a", "b"), np.array([[1.0, 0.0], [0.0, 0.0]]), FEATURES, (LAYER,))


def drawn_items(seed, n=30):
    rng = np.random.default_rng(seed)
    return [
        Item(
            item_id=f"{seed}-{row}",
            genres=tuple(genre for genre in GENRES if rng.random() < 0.5),
            year=int(rng.integers(1990, 1999)) if rng.random() < 0.8 else None,
        )
        for row in range(n)
    ]


def trained_model(items, dim=4):
    features = FeatureEncoder.fit(items)
    return build_model(items, features, train_pca(features.encode(items), PcaSettings(dim=dim)))


def test_known_items_keep_the_models_vector_whatever_is_said_of_them_now():
    vectors, has_vector = MODEL.vectors_for([Item(item_id="b", genres=("Comedy",)), Item(item_id="a")])
    assert vectors.tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert has_vector.tolist() == [True, True]


def test_new_items_are_encoded_by_hand():
    new = [
        Item(item_id="c", genres=("Comedy", "Western")),  # (3, 4) / 5
        Item(item_id="d", genres=("Drama",)),  # (0, -2) / 2
        Item(item_id="e", genres=("Drama",), year=2030),  # (1, -2) / sqrt 5
    ]
    vectors, has_vector = MODEL.vectors_for(new)
    expected = np.array([[0.6, 0.8], [0.0, -1.0], [1 / 5**0.5, -2 / 5**0.5]])
    assert (vectors == expected.astype(np.float32)).all()
    assert vectors.dtype == np.float64
    assert has_vector.all()


def test_an_item_of_which_nothing_is_known_has_no_vector():
    vectors, has_vector = MODEL.vectors_for([Item(item_id="c", genres=("Western",)), Item(item_id="d")])
    assert not vectors.any()
    assert has_vector.tolist() == [False, False]


def test_a_described_item_with_a_zero_code_has_the_zero_vector():
    model = EmbeddingModel("pca", (), np.zeros((0, 1)), FEATURES, (Layer(np.float32([[1, 0, 0]]), np.float32([0])),))
    vectors, has_vector = model.vectors_for([Item(item_id="c", genres=("Drama",))])
    assert vectors.tolist() == [[0.0]]
    assert has_vector.tolist() == [True]


def test_no_items_have_no_vectors():
    vectors, has_vector = MODEL.vectors_for([])
    assert vectors.shape == (0, 2)
    assert has_vector.shape == (0,)


def test_items_without_features_take_no_place_in_the_model():
    items = [*drawn_items(1), Item(item_id="blank")]
    assert "blank" not in trained_model(items).item_ids


@given(seed=st.integers(0, 2**32))
def test_a_new_item_gets_the_bits_of_a_known_one_with_the_same_genres_and_year(seed):
    items = [item for item in drawn_items(seed) if item.genres or item.year]
    model = trained_model(items)
    twins = [Item(item_id=f"twin of {item.item_id}", genres=item.genres, year=item.year) for item in items]
    known, _ = model.vectors_for(items)
    new, _ = model.vectors_for(twins)
    assert (known == new).all()
    assert (known == model.vectors).all()


@given(seed=st.integers(0, 2**32))
def test_known_and_new_items_may_be_asked_for_in_any_order(seed):
    rng = np.random.default_rng(seed)
    model = trained_model(drawn_items(1))
    asked = drawn_items(1) + drawn_items(2) + [Item(item_id="blank")]
    order = rng.permutation(len(asked)).tolist()
    vectors, has_vector = model.vectors_for(asked)
    shuffled, shuffled_has = model.vectors_for([asked[row] for row in order])
    assert (shuffled == vectors[order]).all()
    assert (shuffled_has == has_vector[order]).all()


@given(seed=st.integers(0, 2**32))
def test_vectors_have_length_one_or_zero(seed):
    model = trained_model(drawn_items(seed))
    lengths = np.linalg.norm(model.vectors, axis=1)
    assert (np.isclose(lengths, 1.0, atol=1e-6) | (lengths == 0.0)).all()


@given(seed=st.integers(0, 2**32), dim=st.integers(1, 20))
def test_tensors_give_back_the_same_model_at_any_dimension(seed, dim):
    model = trained_model(drawn_items(seed), dim)
    twin = EmbeddingModel.from_tensors(*model.to_tensors())
    assert twin.dim == dim
    assert twin.kind == model.kind
    assert twin.item_ids == model.item_ids
    assert twin.features == model.features
    assert twin.vectors.dtype == np.float64
    assert (twin.vectors == model.vectors).all()
    assert (twin.vectors_for(drawn_items(seed + 1))[0] == model.vectors_for(drawn_items(seed + 1))[0]).all()


def test_ids_of_any_characters_come_back():
    ids = ("é", "💬", 'quote "', "\n", "\x00")
    model = EmbeddingModel("pca", ids, np.zeros((5, 2)), FEATURES, (LAYER,))
    assert EmbeddingModel.from_tensors(*model.to_tensors()).item_ids == ids


def test_vectors_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        MODEL.vectors[0, 0] = 5.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors": np.zeros((3, 2))}, r"shape \(2, 2\), as item ids and encoder say, got \(3, 2\)"),
        ({"vectors": np.zeros((2, 3))}, r"shape \(2, 2\), as item ids and encoder say, got \(2, 3\)"),
        ({"vectors": np.array([[0, np.nan], [np.inf, 0]])}, r"got 2 that are not, the first nan at \(0, 1\)"),
        ({"vectors": np.array([[0, 0], [0, 1e39]])}, r"got 1 that are not, the first inf at \(1, 1\)"),
        ({"item_ids": ("a", "a")}, "must be distinct, got 2 of which 1 differ"),
        ({"layers": ()}, "at least 1 layer, got 0"),
        ({"layers": (Layer(np.zeros((2, 4), np.float32), np.zeros(2, np.float32)),)}, "layer 0 must take 3 inputs"),
        ({"layers": (LAYER, LAYER)}, "layer 1 must take 2 inputs"),
        ({"layers": (Layer(LAYER.weight, np.float32([1])),)}, r"bias of shape \(1,\)"),
        ({"layers": (Layer(np.zeros((0, 3), np.float32), np.zeros(0, np.float32)),)}, r"a weight of shape \(0, 3\)"),
        ({"layers": (Layer(LAYER.weight, np.float32([1, np.inf])),)}, r"encoder.0.bias must be finite"),
        ({"layers": (Layer(LAYER.weight * np.float32("nan"), LAYER.bias),)}, "got 6 that are not"),
    ],
)
def test_what_does_not_fit_is_refused_with_numbers(change, message):
    with pytest.raises(ModelError, match=message):
        replace(MODEL, **change)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("vectors", None, "has no tensor 'vectors'; it has"),
        ("encoder.0.bias", None, "has no tensor 'encoder.0.bias'"),
        ("item_ids", None, "no tensor 'item_ids' of bytes"),
        ("vectors", np.zeros((2, 2)), "vectors must be float32 of 2 dimensions, got float64 of 2"),
        ("vectors", np.zeros(4, np.float32), "vectors must be float32 of 2 dimensions, got float32 of 1"),
        ("item_ids", np.frombuffer(b'["a"', np.uint8), "item_ids are no JSON"),
        ("item_ids", np.frombuffer(b"\xff\xff", np.uint8), "item_ids are no JSON"),
        ("item_ids", np.frombuffer(b"[1, 2]", np.uint8), "must be a list of strings"),
        ("item_ids", np.frombuffer(b'["a"]', np.uint8), r"shape \(1, 2\), as item ids and encoder say, got \(2, 2\)"),
    ],
)
def test_a_tensor_that_is_missing_or_wrong_is_named(name, tensor, message):
    tensors, metadata = MODEL.to_tensors()
    del tensors[name]
    if tensor is not None:
        tensors[name] = tensor
    with pytest.raises(ModelError, match=message):
        EmbeddingModel.from_tensors(tensors, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format must be 1, got 2"),
        ({"kind": 3}, "kind must be of type str, got 3"),
        ({"layers": "1"}, "layers must be of type int, got '1'"),
        ({"layers": 2}, "has no tensor 'encoder.1.weight'"),
        ({"layers": 0}, "at least 1 layer, got 0"),
        ({"features": []}, r"features must be of type dict, got \[\]"),
        ({"features": {}}, "features cannot be read: feature state needs genres"),
        ({"features": {"genres": ["a"], "years": []}}, "layer 0 must take 1 inputs"),
    ],
)
def test_metadata_that_is_wrong_is_named(change, message):
    tensors, metadata = MODEL.to_tensors()
    about = json.loads(metadata[METADATA_KEY]) | change
    with pytest.raises(ModelError, match=message):
        EmbeddingModel.from_tensors(tensors, {METADATA_KEY: json.dumps(about)})


@pytest.mark.parametrize("metadata", [{}, {METADATA_KEY: "{"}, {METADATA_KEY: "[]"}, {METADATA_KEY: "[" * 100_000}])
def test_a_file_of_something_else_is_refused(metadata):
    with pytest.raises(ModelError, match=r"metadata has no readable|format must be 1"):
        EmbeddingModel.from_tensors({}, metadata)


def test_loading_and_encoding_import_no_torch():
    modules = "recommender.embeddings.model, recommender.embeddings.pca, streams.models.releases"
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
