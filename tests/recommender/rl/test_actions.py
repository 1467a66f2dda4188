import torch

from recommender.rl.actions import act_roughly, act_roughly_in, compare_actions, items_near
from recommender.rl.networks import Actor
from recommender.rl.states import States


def test_what_is_near_is_the_softmax_of_inner_products_by_the_temperature():
    action, vectors = torch.randn(5, 3), torch.randn(7, 3)
    chances = torch.softmax(action @ vectors.T / 0.3, dim=1)
    torch.testing.assert_close(items_near(action, vectors, 0.3), chances @ vectors)


def test_actions_of_states_of_few_items_are_as_rough_as_those_of_their_numbers():
    states = States(torch.randn(3, 4), torch.randint(3, (20, 2)), torch.randn(20, 2))
    actor = Actor(2, 4, hidden=8, dropout=0.5).eval()
    torch.manual_seed(4)
    expected = act_roughly(actor, states.flat, 2, 0.5)
    torch.manual_seed(4)
    torch.testing.assert_close(act_roughly_in(actor, states, 0.5), expected)
    assert not actor.training
    assert not torch.allclose(actor(states.flat), expected)


def test_products_that_are_known_change_no_distance():
    action, vectors = torch.randn(5, 3), torch.cat((torch.randn(6, 3), torch.zeros(1, 3)))
    plain = compare_actions(action, vectors[:5], vectors)
    known = compare_actions(action, vectors[:5], vectors, action @ vectors.T)
    assert {name: value.item() for name, value in plain.items()} == {
        name: value.item() for name, value in known.items()
    }
    cosines = torch.nn.functional.cosine_similarity(action[:, None], vectors[None], dim=2)
    torch.testing.assert_close(known["action/nearest"], 1.0 - cosines.amax(dim=1).mean())
