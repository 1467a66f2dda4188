import numpy as np
import pytest

from recommender.rl.state import centre_ratings, make_states, pad_states, state_size


def test_ratings_of_the_usual_scale_are_centred_as_twice_their_distance_from_two_and_a_half():
    ratings = np.arange(1, 11) / 2
    assert centre_ratings(ratings, (0.5, 5.0)).tolist() == (2 * (ratings - 2.5)).tolist()


def test_the_ends_of_any_scale_become_minus_four_and_five():
    assert centre_ratings(np.array([1.0, 3.0, 5.0]), (1.0, 5.0)).tolist() == [-4.0, 0.5, 5.0]


def test_a_state_has_the_items_oldest_first_and_then_their_ratings():
    # F = 2, D = 3
    vectors = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    state = make_states(vectors, np.array([1.0, 5.0]), (0.5, 5.0))
    assert state.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -3.0, 5.0]
    assert len(state) == state_size(2, 3)


def test_states_of_many_users_are_those_of_each():
    rng = np.random.default_rng(0)
    vectors, ratings = rng.normal(size=(5, 10, 4)), rng.uniform(0.5, 5, size=(5, 10))
    together = make_states(vectors, ratings, (0.5, 5.0))
    assert together.shape == (5, state_size(10, 4))
    for user in range(5):
        assert together[user].tolist() == make_states(vectors[user], ratings[user], (0.5, 5.0)).tolist()


def test_a_padded_state_is_that_of_the_frame_that_training_has():
    # F = 3, two events are there
    vectors, ratings = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 5.0])
    state = pad_states(vectors, ratings, (0.5, 5.0), 3)
    assert state.tolist() == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0, -3.0, 5.0]
    assert pad_states(vectors, ratings, (0.5, 5.0), 2).tolist() == make_states(vectors, ratings, (0.5, 5.0)).tolist()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"vectors must be \[..., F, D\] for ratings \[..., F\]"):
        make_states(np.zeros((2, 3)), np.zeros(3), (0.5, 5.0))
