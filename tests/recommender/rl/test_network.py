from itertools import pairwise

import numpy as np
import pytest

from recommender.embeddings.layers import Layer
from recommender.rl.network import build_network
from schemas.errors import ModelError


def layer(weight, bias):
    return Layer(np.array(weight, dtype=np.float32), np.array(bias, dtype=np.float32))


def random_layers(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [layer(rng.normal(size=(o, i)) / i**0.5, rng.normal(size=o)) for i, o in pairwise(sizes)]


def test_a_network_is_affine_maps_with_relu_between_but_not_after():
    # x = (1, 2): hidden (1 - 2 + 0.5, 2 + 2) = (-0.5, 4), ReLU (0, 4); out 3*0 - 2*4 + 1 = -7
    network = build_network([layer([[1, -1], [2, 1]], [0.5, 0]), layer([[3, -2]], [1])], 2, 1, "actor")
    assert network.run(np.array([[1.0, 2.0]])).tolist() == [[-7.0]]


def test_outputs_are_the_bits_of_sums_in_the_order_of_the_inputs():
    layers = random_layers(41, 16, 5)
    x = np.random.default_rng(1).normal(size=(3, 41))
    hidden = np.maximum(layers[0].apply(x), 0.0)
    assert build_network(layers, 41, 5, "actor").run(x).tolist() == layers[1].apply(hidden).tolist()


def test_a_row_has_the_same_bits_alone_and_in_any_batch():
    network = build_network(random_layers(130, 64, 32), 130, 32, "actor")
    x = np.random.default_rng(1).normal(size=(65, 130))
    together = network.run(x)
    for size in (1, 2, 7, 64):
        assert network.run(x[:size]).tobytes() == together[:size].tobytes()
    assert network.run(np.asfortranarray(x)[::-1]).tobytes() == together[::-1].tobytes()


@pytest.mark.parametrize("shared", [0, 1, 20, 41])
def test_rows_that_begin_alike_have_the_same_bits_when_that_is_added_once(shared):
    network = build_network(random_layers(41, 16, 5), 41, 5, "critic.0")
    x = np.random.default_rng(1).normal(size=(7, 41))
    x[:, :shared] = x[0, :shared]
    assert network.run_after(x[0, :shared], x[:, shared:]).tobytes() == network.run(x).tobytes()


def test_no_rows_give_no_outputs():
    assert build_network(random_layers(3, 2), 3, 2, "actor").run(np.zeros((0, 3))).shape == (0, 2)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "actor needs at least 1 layer, got 0"),
        (
            random_layers(4, 2),
            r"actor.0 must have a weight of shape \[2, 3\] and a bias of shape \[2\], got \[2, 4\] and \[2\]",
        ),
        (random_layers(3, 5, 1), r"actor.1 must have a weight of shape \[2, 5\] .* got \[1, 5\] and \[1\]"),
        ([layer([[1, 2, np.nan], [0, 0, 0]], [0, 0])], "actor.0.weight must be finite"),
        ([Layer(np.full((2, 3), 1e39), np.zeros(2))], "actor.0.weight must be finite"),
    ],
)
def test_layers_that_are_no_such_network_are_refused(layers, message):
    with pytest.raises(ModelError, match=message):
        build_network(layers, 3, 2, "actor")


def test_rows_of_another_length_are_refused():
    network = build_network(random_layers(3, 2), 3, 2, "actor")
    with pytest.raises(ValueError, match=r"x must have shape \[B, 3\], got \(1, 2\)"):
        network.run(np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"rows must have 3 numbers, got \(2,\) and \(1, 2\)"):
        network.run_after(np.zeros(2), np.zeros((1, 2)))
