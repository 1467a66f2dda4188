import math

import numpy as np
import pytest
import torch

from recommender.embeddings.layers import Layer
from recommender.rl.networks import RecurrentActor
from recommender.rl.recurrent import build_recurrent
from recommender.rl.state import state_size
from schemas.errors import ModelError


def layer(weight, bias):
    return Layer(np.array(weight, dtype=np.float32), np.array(bias, dtype=np.float32))


def actor_of(frame_size=4, dim=3, hidden=8):
    torch.manual_seed(0)
    return RecurrentActor(frame_size, dim, hidden, dropout=0.5, spread=0.5).eval()


def network_of(actor, frame_size=4, dim=3):
    return build_recurrent(actor.encoder(), actor.layers(), frame_size, dim)


def states(rows, frame_size=4, dim=3):
    return np.random.default_rng(1).normal(size=(rows, state_size(frame_size, dim)))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_two_events_of_one_unit_worked_by_hand():
    # D = 1, H = 1. Gates in, forget, new, out are given x, 1, r' and 0, and 0.5 h each; the layer after doubles h.
    of_events = layer([[1, 0], [0, 0], [0, 1], [0, 0]], [0, 1, 0, 0])
    network = build_recurrent((of_events, layer([[0.5]] * 4, [0] * 4)), [layer([[2]], [0])], 2, 1)
    # the events have x = 3 with r' = -4, then x = -1 with r' = 5
    c = sigmoid(3) * math.tanh(-4)
    h = sigmoid(0) * math.tanh(c)
    c = sigmoid(1 + 0.5 * h) * c + sigmoid(-1 + 0.5 * h) * math.tanh(5 + 0.5 * h)
    h = sigmoid(0.5 * h) * math.tanh(c)
    assert network.run(np.array([[3.0, -1.0, -4.0, 5.0]])).tolist() == [[pytest.approx(2 * h)]]


def test_a_released_recurrent_actor_says_what_the_trained_one_says():
    actor, state = actor_of(), states(5)
    with torch.no_grad():
        expected = actor(torch.from_numpy(state).float()).numpy()
    np.testing.assert_allclose(network_of(actor).run(state), expected, atol=1e-5)


def test_a_state_has_the_same_bits_alone_and_in_any_batch():
    network, state = network_of(actor_of()), states(33)
    together = network.run(state)
    for size in (1, 2, 7, 32):
        assert network.run(state[:size]).tobytes() == together[:size].tobytes()
    assert network.run(np.asfortranarray(state)[::-1]).tobytes() == together[::-1].tobytes()


def test_the_order_of_events_counts():
    network, state = network_of(actor_of()), states(1)
    items, ratings = state[:, :12].reshape(1, 4, 3), state[:, 12:]
    turned = np.concatenate((items[:, ::-1].reshape(1, 12), ratings[:, ::-1]), axis=1)
    assert not np.allclose(network.run(state), network.run(turned))


def test_dropout_is_of_the_layers_after_it_and_in_training_only():
    actor, state = actor_of(), torch.from_numpy(states(5)).float()
    assert torch.equal(actor(state), actor(state))
    actor.train()
    assert not torch.equal(actor(state), actor(state))


def test_an_encoder_that_does_not_fit_is_refused():
    actor = actor_of()
    of_events, of_hidden = actor.encoder()
    with pytest.raises(ModelError, match="encoder must have 4 gates a unit, got 31 in all"):
        build_recurrent((of_events, Layer(of_hidden.weight, of_hidden.bias[:31])), actor.layers(), 4, 3)
    with pytest.raises(ModelError, match=r"encoder.0 must have a weight of shape \[32, 4\]"):
        build_recurrent((Layer(of_events.weight[:, :3], of_events.bias), of_hidden), actor.layers(), 4, 3)
    with pytest.raises(ModelError, match=r"actor.0 must have a weight of shape \[8, 8\]"):
        build_recurrent((of_events, of_hidden), [Layer(np.zeros((8, 9)), np.zeros(8)), *actor.layers()[1:]], 4, 3)
    with pytest.raises(ValueError, match=r"x must have shape \[B, 16\], got \(1, 15\)"):
        network_of(actor).run(np.zeros((1, 15)))
