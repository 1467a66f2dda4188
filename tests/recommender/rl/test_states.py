import torch

from recommender.rl.states import States


def states_of(items, count=8, frame_size=3, dim=4):
    """States of a few items, the first of them zeros as padding is, some events weighted."""
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(items, dim, generator=generator)
    vectors[0] = 0.0
    places = torch.randint(items, (count, frame_size), generator=generator)
    rewards, weights = torch.randn(2, count, frame_size, generator=generator)
    return States(vectors, places, rewards, weights)


def layer():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(5, 15, generator=generator).requires_grad_(), torch.randn(
        5, generator=generator
    ).requires_grad_()


def test_products_looked_up_are_those_of_the_states_as_numbers():
    for states in (states_of(items=4), states_of(items=4).first(6), states_of(items=20)):
        weight, bias = layer()
        torch.testing.assert_close(states.times(weight, bias), states.flat @ weight.T + bias)


def test_gradients_through_products_looked_up_are_those_of_the_states_as_numbers():
    states, aim = states_of(items=4), torch.randn(8, 5, generator=torch.Generator().manual_seed(3))
    (weight, bias), (other_weight, other_bias) = layer(), layer()
    (states.times(weight, bias) * aim).sum().backward()
    ((states.flat @ other_weight.T + other_bias) * aim).sum().backward()
    torch.testing.assert_close(weight.grad, other_weight.grad)
    torch.testing.assert_close(bias.grad, other_bias.grad)


def test_states_of_few_items_are_never_made_into_numbers():
    few, many = states_of(items=4), states_of(items=8)
    for states in (few, many):
        states.times(*layer())
    assert [few.is_repetitive, many.is_repetitive] == [True, False]
    assert ["flat" in vars(states) for states in (few, many)] == [False, True]


def test_a_weight_multiplies_an_events_vector_and_not_its_rating():
    states = States(torch.tensor([[2.0], [3.0]]), torch.tensor([[0, 1]]), torch.tensor([[5.0, 7.0]]))
    assert states.flat.tolist() == [[2.0, 3.0, 5.0, 7.0]]
    assert states.weighted(torch.tensor([[0.0, 2.0]])).flat.tolist() == [[0.0, 6.0, 5.0, 7.0]]
