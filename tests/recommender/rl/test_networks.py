import numpy as np
import pytest
import torch

from recommender.rl.network import build_network
from recommender.rl.networks import Actor, Critic, HistoryEncoder, RecurrentActor
from recommender.rl.states import States


def test_an_actor_has_the_layout_of_recnn():
    shapes = {name: list(weight.shape) for name, weight in Actor(10, 128).state_dict().items() if "weight" in name}
    assert shapes == {"linear1.weight": [256, 1290], "linear2.weight": [256, 256], "linear3.weight": [128, 256]}


def test_a_released_actor_says_what_the_trained_one_says():
    actor = Actor(3, 4, hidden=8, dropout=0.5).eval()
    state = torch.randn(5, 15)
    with torch.no_grad():
        expected = actor(state).numpy()
    found = build_network(actor.layers(), 15, 4, "actor").run(state.double().numpy())
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_values_of_items_are_those_of_each_item_by_itself():
    critic = Critic(3, 4, hidden=8).eval()
    state, items = torch.randn(5, 15), torch.randn(6, 4)
    with torch.no_grad():
        each = torch.stack([critic.value(state, item.expand(5, 4)) for item in items], dim=1)
        torch.testing.assert_close(critic.values(state, items), each)
        torch.testing.assert_close(critic.values(state, items.expand(5, 6, 4)), each)


@pytest.mark.parametrize("items", [2, 20])
def test_networks_say_of_states_what_they_say_of_their_numbers(items):
    states, action = States(torch.randn(items, 4), torch.randint(items, (5, 3)), torch.randn(5, 3)), torch.randn(5, 4)
    for actor in (Actor(3, 4, hidden=8), RecurrentActor(3, 4, hidden=8)):
        torch.testing.assert_close(actor.act(states), actor(states.flat))
    critic = Critic(3, 4, hidden=8, spread=0.5)
    torch.testing.assert_close(critic.value_of(states, action), critic.value(states.flat, action))


def test_dropout_is_off_in_evaluation_and_on_in_training():
    actor, state = Actor(3, 4, dropout=0.5), torch.randn(5, 15)
    assert not torch.equal(actor(state), actor(state))
    actor.eval()
    assert torch.equal(actor(state), actor(state))


def test_padding_at_the_end_does_not_reach_a_history_s_states():
    encoder = HistoryEncoder(4, hidden=8)
    vectors, rewards = torch.randn(1, 3, 4), torch.randn(1, 3)
    padded = encoder(torch.cat((vectors, torch.ones(1, 2, 4)), dim=1), torch.cat((rewards, torch.ones(1, 2)), dim=1))
    torch.testing.assert_close(padded[:, :3], encoder(vectors, rewards))
