import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recommender.draws import Draws
from recommender.policies.choices import (
    Remaining,
    choose_among_ties,
    choose_best,
    choose_epsilon_greedily,
    choose_uniformly,
)


@given(order=st.integers(1, 8).flatmap(lambda n: st.permutations(range(n))))
def test_remaining_positions_are_numbered_without_gaps(order):
    left = Remaining(len(order))
    for gone, position in enumerate(order):
        assert sorted(left.at(number) for number in range(left.size)) == sorted(order[gone:])
        left.remove(position)
    assert left.size == 0


def test_best_positions_are_certain():
    choices = choose_best(np.array([2, 0]))
    assert choices.propensities.tolist() == [1.0, 1.0]
    assert choices.explored.tolist() == [False, False]


def test_uniform_slots_have_one_over_what_is_left():
    choices = choose_uniformly(4, 9, Draws(7, "u", "r"))
    assert sorted(choices.positions.tolist()) == [0, 1, 2, 3]
    assert choices.propensities.tolist() == [1 / 4, 1 / 3, 1 / 2, 1.0]
    assert choices.explored.all()


def test_epsilon_one_explores_as_the_uniform_choice_does():
    draws = Draws(7, "u", "r")
    greedy, uniform = choose_epsilon_greedily(6, np.arange(4), 1.0, draws), choose_uniformly(6, 4, draws)
    assert greedy.positions.tolist() == uniform.positions.tolist()
    assert greedy.propensities.tolist() == uniform.propensities.tolist()


def test_propensity_counts_a_uniform_draw_of_the_best_too():
    # n = 5, epsilon = 0.1: the best left has 0.1/5 + 0.9 = 0.92 in the first slot, another 0.02.
    for i in range(200):
        choices = choose_epsilon_greedily(5, np.array([3]), 0.1, Draws(7, "u", f"r{i}"))
        expected = 0.1 / 5 + 0.9 if choices.positions[0] == 3 else 0.1 / 5
        assert choices.propensities.tolist() == [expected]
        assert choices.positions[0] == 3 or choices.explored[0]


def test_slates_come_as_often_as_their_propensities_say():
    # n = 4, best order 2, 0, ..., epsilon 0.5, two slots. First: 0.5/4 + 0.5 [it is 2]; then 0.5/3 + 0.5 [best left].
    requests = 20_000
    counts = dict.fromkeys(itertools.permutations(range(4), 2), 0)
    for i in range(requests):
        choices = choose_epsilon_greedily(4, np.array([2, 0]), 0.5, Draws(11, "u", f"r{i}"))
        counts[tuple(choices.positions.tolist())] += 1
    for (first, second), count in counts.items():
        p = (0.125 + 0.5 * (first == 2)) * (0.5 / 3 + 0.5 * (second == (0 if first == 2 else 2)))
        # Five standard deviations of a binomial; 12 of them fail together with probability below 1e-5.
        assert abs(count - requests * p) < 5 * (requests * p * (1 - p)) ** 0.5


def test_share_of_explored_slots_is_epsilon():
    # 10,000 coins of 0.3: five standard deviations are 5 sqrt(10000 * 0.21) = 229.
    explored = sum(
        int(choose_epsilon_greedily(50, np.arange(10), 0.3, Draws(5, "u", f"r{i}")).explored.sum()) for i in range(1000)
    )
    assert abs(explored - 3000) < 229


def test_tied_positions_share_the_chance():
    # Scores 9 (two), 8 (one), then 5 not shuffled: 1/2, 1/1, 1, and certain.
    scores, shuffled = np.array([5.0, 9.0, 8.0, 9.0]), np.array([False, True, True, True])
    choices = choose_among_ties(np.array([3, 1, 2, 0]), scores, shuffled)
    assert choices.propensities.tolist() == [0.5, 1.0, 1.0, 1.0]
