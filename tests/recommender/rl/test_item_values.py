import copy

import torch

from recommender.rl.item_values import ItemValues
from recommender.rl.networks import Actor
from recommender.rl.training import ActorSettings


def values_of(dropout=0.0):
    torch.manual_seed(0)
    settings = ActorSettings(frame_size=2, hidden=8, event_dropout=dropout)
    cloned = Actor(2, 3, 8, dropout, spread=0.5)
    return cloned, ItemValues(cloned, 3, settings), torch.randn(5, 8), torch.randn(7, 3)


def test_the_best_item_is_the_nearest_by_inner_product_to_what_is_released():
    _, values, state, vectors = values_of()
    best = values.values(state, vectors).argmax(dim=1)
    assert torch.equal(best, (values.actor(state) @ vectors.T).argmax(dim=1))


def test_the_value_of_an_item_is_the_same_alone_and_among_all():
    _, values, state, vectors = values_of()
    among = values.values(state, vectors)
    for row, item in enumerate(vectors):
        torch.testing.assert_close(values.value(state, item.expand(5, 3)), among[:, row])


def test_it_begins_as_the_cloned_actor_and_leaves_that_as_it_was():
    cloned, values, state, _ = values_of()
    before = copy.deepcopy(cloned)
    assert torch.equal(values.actor(state), cloned.eval()(state))
    with torch.no_grad():
        next(values.actor.parameters()).zero_()
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), cloned.parameters(), strict=True))


def test_a_state_is_worth_about_nothing_at_first():
    _, values, state, _ = values_of()
    assert values.worth(state).abs().max() < 0.05


def test_dropout_is_where_it_learns_and_nowhere_else():
    _, values, state, vectors = values_of(dropout=0.5)
    assert not torch.equal(values.values_roughly(state, vectors)[0], values.values_roughly(state, vectors)[0])
    assert torch.equal(values.values(state, vectors), values.values(state, vectors))
    assert not values.actor.training
    _, plain, state, vectors = values_of()
    torch.testing.assert_close(plain.values_roughly(state, vectors)[0], plain.values(state, vectors))
