"""What comes of a step, worked by hand from the notebook's rules and from the default ones."""

import math

import numpy as np
import pytest

from recommender.policies import PolicySettings, make_policy
from recommender.simulation.experiment import Terms
from recommender.simulation.people import blocks_of, make_block
from tests.recommender.simulation.worlds import catalogue_of, compat_terms, default_terms, people_of, random_people, run


def test_compat_errors_and_regrets_are_those_worked_by_hand():
    # x = 1 and 2; ratings 4 and 5; s = 1. t = 0: all scores 0, i0 is taken, theta = 4.
    # t = 1, e = 2: i0 4 (1 - exp(-2)) + sqrt(2 log2(3)/2) = 4.72, i1 8 (1 - exp(-1)) = 5.06: i1, theta (4 + 10)/2.
    # t = 2, e = 3: i0 7 (1 - exp(-3)) + sqrt(2 * 2/3) = 7.81, i1 14 (1 - exp(-2)) + 1.15 = 13.26: i1 again.
    people = people_of(catalogue_of([[1.0], [2.0]]), {"u": {0: 4.0, 1: 5.0}})
    outcomes = run(people, make_policy("greedy_compat", PolicySettings(s=1.0)), compat_terms(3))
    assert outcomes.rows.tolist() == [[0, 1, 1]]
    theta = [4.0, 7.0, 8.0]
    predicted = [theta[0] * (1 - math.exp(-1)), 2 * theta[1] * (1 - math.exp(-2)), 2 * theta[2] * (1 - math.exp(-3))]
    np.testing.assert_allclose(
        outcomes.sq_errors, [[(r - p) ** 2 for r, p in zip((4.0, 5.0, 5.0), predicted, strict=True)]], rtol=1e-12
    )
    # best of what was never rated and is not the pick: i1; then nothing is left, so the pick's own rating.
    assert outcomes.regrets.tolist() == [[1.0, 0.0, 0.0]]


def test_compat_regret_is_negative_where_the_pick_beats_what_is_left():
    people = people_of(catalogue_of([[1.0], [1.0]]), {"u": {0: 5.0, 1: 2.0}})
    outcomes = run(people, make_policy("greedy_compat"), compat_terms(1))
    assert outcomes.regrets.tolist() == [[-3.0]]


def test_default_regret_is_against_the_best_item_allowed():
    # Others gave i0 5, i1 3 and i2 1 each, so greedy takes them in this order; the user gives 2, 5 and 3.
    catalogue = catalogue_of([[0.0], [0.0], [0.0]])
    people = people_of(catalogue, {"u": {0: 2.0, 1: 5.0, 2: 3.0}}, [(0, 5.0), (1, 3.0), (2, 1.0)])
    outcomes = run(people, make_policy("greedy"), default_terms(3))
    assert outcomes.rows.tolist() == [[0, 1, 2]]
    assert outcomes.regrets.tolist() == [[3.0, 0.0, 0.0]]


def test_default_prediction_knows_nothing_of_the_rating_it_predicts():
    # Others: i0 5 and i1 3, m = 4, k0 = 5: m_0 = (5 + 20)/6, m_1 = (3 + 20)/6. i0 first; its rating 1 moves m to 3:
    # m_1 = (3 + 15)/6 = 3; the vectors are zero, so no taste.
    people = people_of(catalogue_of([[0.0], [0.0]]), {"u": {0: 1.0, 1: 4.0}}, [(0, 5.0), (1, 3.0)])
    outcomes = run(people, make_policy("greedy"), default_terms(2))
    np.testing.assert_allclose(outcomes.sq_errors, [[(1.0 - 25 / 6) ** 2, (4.0 - 3.0) ** 2]], rtol=1e-12)


@pytest.mark.parametrize("name", ["random", "greedy", "epsilon_greedy", "ucb", "greedy_compat", "random_compat"])
@pytest.mark.parametrize("repeats", [False, True])
def test_default_regret_is_never_negative(name, repeats):
    people = random_people(5, users=30, items=60, kinds=8, dim=4, most=25)
    outcomes = run(people, make_policy(name), default_terms(25, repeats=repeats))
    assert np.nanmin(outcomes.regrets) >= 0.0
    assert np.nanmax(outcomes.regrets) > 0.0


def test_without_repeats_everything_is_met_once_and_then_nothing():
    people = random_people(6, users=10, items=30, kinds=5, dim=3, most=8)
    for name in ("random", "greedy", "epsilon_greedy", "ucb"):
        outcomes = run(people, make_policy(name), default_terms(8))
        for place, size in enumerate(people.sizes.tolist()):
            met = outcomes.rows[place]
            assert sorted(met[:size]) == people.rows[people.starts[place] : people.starts[place + 1]].tolist()
            assert (met[size:] == -1).all()
            assert np.isnan(outcomes.sq_errors[place, size:]).all()


def test_ratings_below_zero_are_ratings_too():
    people = people_of(catalogue_of([[1.0], [1.0]]), {"u": {0: -5.0, 1: -2.0}})
    assert run(people, make_policy("greedy_compat"), compat_terms(1)).regrets.tolist() == [[3.0]]
    assert run(people, make_policy("random"), default_terms(2)).regrets.min() == 0.0


def test_a_users_seconds_are_a_share_of_the_blocks_step():
    people = people_of(catalogue_of([[1.0]]), {"u": {0: 5.0}, "v": {0: 5.0}})
    # The clock is read before and after the choice and counts its readings: 1 s for both users.
    assert run(people, make_policy("greedy_compat"), compat_terms(2)).seconds.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_blocks_hold_every_user_once_and_at_most_so_many_cells():
    people = random_people(8, users=40, items=50, kinds=5, dim=2, most=30)
    blocks = list(blocks_of(people, cells=64))
    assert sorted(user for block in blocks for user in block.users.tolist()) == list(range(40))
    assert all(block.rows.size <= 64 for block in blocks)
    assert len(blocks) > 1


def test_a_user_with_more_candidates_than_a_block_has_one_alone():
    people = random_people(8, users=6, items=50, kinds=5, dim=2, most=30)
    assert [block.users.tolist() for block in blocks_of(people, cells=1)] == [
        [user] for user in np.argsort(people.sizes, kind="stable").tolist()
    ]


def test_others_are_everybody_less_the_user():
    people = people_of(catalogue_of([[1.0], [1.0]]), {"u": {0: 4.0}, "v": {0: 3.0, 1: 2.0}}, [(0, 5.0)])
    block = make_block(people, np.array([0, 1]))
    assert block.others_counts.tolist() == [[2, 3], [2, 0]]  # of the padding, [0][1], nothing is said
    assert block.others_sums[:, 0].tolist() == [80_000, 90_000]
    assert block.others_total_count.tolist() == [3, 2]
    assert block.others_total_sum.tolist() == [100_000, 90_000]


@pytest.mark.parametrize("arguments", [{"steps": 0}, {"steps": 1, "mode": "compat", "repeats": False}])
def test_terms_refuse_what_cannot_be(arguments):
    with pytest.raises(ValueError, match=r"steps must be|allows repeats"):
        Terms(**arguments)


def test_people_refuse_rows_out_of_order():
    catalogue = catalogue_of([[1.0], [1.0]])
    good = people_of(catalogue, {"u": {0: 4.0, 1: 3.0}})
    with pytest.raises(ValueError, match="distinct and ascending"):
        type(good)(catalogue, ("u",), good.starts, good.rows[::-1], good.ratings, good.statistics)
    with pytest.raises(ValueError, match="must ascend"):
        type(good)(catalogue, ("u", "v"), good.starts, good.rows, good.ratings, good.statistics)
    with pytest.raises(ValueError, match="must have shape"):
        type(good)(catalogue, ("u",), good.starts, good.rows, good.ratings[:1], good.statistics)
