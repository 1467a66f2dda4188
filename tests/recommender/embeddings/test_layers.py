import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recommender.embeddings.layers import Layer, encode_features


def drawn_layers(rng, *sizes):
    return [
        Layer(rng.normal(size=(outputs, inputs)).astype(np.float32), rng.normal(size=outputs).astype(np.float32))
        for inputs, outputs in itertools.pairwise(sizes)
    ]


def test_two_layers_by_hand():
    # x = (1, 2): hidden = relu(1 + 2 - 1, -1 - 2) = (2, 0); code = (3 * 2 + 9 * 0, 4 * 2 + 9 * 0) = (6, 8), length 10.
    layers = [
        Layer(np.float32([[1, 1], [-1, -1]]), np.float32([-1, 0])),
        Layer(np.float32([[3, 9], [4, 9]]), np.float32([0, 0])),
    ]
    np.testing.assert_array_equal(encode_features(layers, np.float32([[1, 2]])), np.float32([[0.6, 0.8]]))


def test_a_zero_code_is_the_zero_vector():
    layer = Layer(np.float32([[1], [1]]), np.float32([-1, -1]))
    assert encode_features([layer], np.float32([[1]])).tolist() == [[0.0, 0.0]]


def test_no_rows_give_no_codes():
    layer = Layer(np.ones((3, 2), np.float32), np.zeros(3, np.float32))
    assert encode_features([layer], np.zeros((0, 2), np.float32)).shape == (0, 3)


def test_blocks_of_rows_make_no_difference():
    rng = np.random.default_rng(3)
    layers = drawn_layers(rng, 5, 4, 3)
    one = rng.random((1, 5), dtype=np.float32)
    many = encode_features(layers, np.repeat(one, 8195, axis=0))
    assert (many == encode_features(layers, one)).all()


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 40))
def test_a_row_has_the_same_bits_alone_and_at_any_place_in_a_batch(seed, rows):
    rng = np.random.default_rng(seed)
    layers = drawn_layers(rng, 9, 7, 4)
    features = (rng.random((rows, 9)) < 0.4).astype(np.float32)
    batch = encode_features(layers, features)
    for row in range(rows):
        assert (encode_features(layers, features[row : row + 1])[0] == batch[row]).all()
    assert (encode_features(layers, features[::-1])[::-1] == batch).all()


@given(seed=st.integers(0, 2**32))
def test_codes_are_the_normalised_matrix_products(seed):
    rng = np.random.default_rng(seed)
    first, last = layers = drawn_layers(rng, 9, 7, 4)
    features = rng.random((6, 9)).astype(np.float32)
    codes = np.maximum(features @ first.weight.T + first.bias, 0) @ last.weight.T + last.bias
    expected = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    np.testing.assert_allclose(encode_features(layers, features), expected, atol=1e-4)
