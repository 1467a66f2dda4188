import numpy as np
import pytest

from recommender.rl.replay import ReplayBuffer


def ring_of(capacity, *batches):
    ring = ReplayBuffer(capacity)
    for batch in batches:
        ring.add(np.array(batch, dtype=np.int64))
    return ring


@pytest.mark.parametrize(
    ("batches", "held"),
    [
        ([[1, 2]], [1, 2]),
        ([[1, 2], [3, 4], [5]], [2, 3, 4, 5]),
        ([[1, 2, 3, 4, 5, 6]], [3, 4, 5, 6]),
        ([[1, 2, 3], [4, 5, 6, 7, 8, 9], [10]], [7, 8, 9, 10]),
        ([[], [1]], [1]),
    ],
)
def test_the_newest_are_held_up_to_the_capacity(batches, held):
    ring = ring_of(4, *batches)
    assert sorted(ring.held.tolist()) == held
    assert len(ring) == len(held)


def test_a_sample_holds_no_transition_twice_and_none_that_is_not_there():
    ring = ring_of(50, range(30), range(30, 80))
    drawn = ring.sample(40, np.random.default_rng(0))
    assert len(set(drawn.tolist())) == 40
    assert set(drawn.tolist()) <= set(range(30, 80))
    assert sorted(ring.sample(60, np.random.default_rng(0)).tolist()) == list(range(30, 80))


def test_the_generator_tells_what_is_drawn():
    ring = ring_of(50, range(50))
    first, again, other = (ring.sample(10, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_every_transition_is_as_likely():
    # 4000 draws of 5 out of 10: each 2000 times, standard deviation sqrt(4000 / 4) = 31.6; 5 of them are 158
    ring = ring_of(10, range(10))
    generator = np.random.default_rng(3)
    counts = np.bincount(np.concatenate([ring.sample(5, generator) for _ in range(4000)]))
    assert np.abs(counts - 2000).max() < 158


def test_a_ring_goes_on_from_its_state():
    ring, again = ring_of(4, [1, 2, 3], [4, 5]), ReplayBuffer(4)
    again.load_state_dict(ring.state_dict())
    for each in (ring, again):
        each.add(np.array([6, 7]))
    assert again.held.tolist() == ring.held.tolist()
    assert sorted(again.held.tolist()) == [4, 5, 6, 7]


def test_a_ring_for_nothing_is_refused():
    with pytest.raises(ValueError, match="capacity of a replay buffer must be at least 1, got 0"):
        ReplayBuffer(0)
