"""Many users at once beside the policies asked one by one, and beside the notebook's loop."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation_sides.loop import Loop, dot_in_order
from recommender.policies import POLICIES, POLICY_MODELS, PolicySettings, make_policy
from recommender.simulation.players import draws_of
from schemas.codec import RATING_QUANTUM
from tests.recommender.simulation.worlds import (
    SEED,
    ask_policies,
    assert_same,
    catalogue_of,
    compat_terms,
    default_terms,
    people_of,
    random_people,
    run,
)

SIMULATED = [name for name in POLICIES if name not in POLICY_MODELS]
COMPAT = [name for name in POLICIES if name.endswith("_compat")]
WORLDS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "users": st.integers(1, 6),
        "items": st.integers(12, 40),
        "kinds": st.integers(1, 6),
        "dim": st.integers(1, 17),
        "most": st.integers(1, 12),
        "has_strangers": st.booleans(),
    }
)


@pytest.mark.parametrize("name", COMPAT)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_compat_policy_equals_the_notebooks_loop_item_for_item(name, seed):
    people = random_people(seed, users=8, items=60, kinds=9, dim=16, most=30)
    outcomes = run(people, make_policy(name), compat_terms(60))
    for place, user_id in enumerate(people.user_ids):
        span = slice(people.starts[place], people.starts[place + 1])
        ids = [people.catalogue.item_ids[row] for row in people.rows[span]]
        movies = pd.DataFrame(people.catalogue.vectors[people.rows[span]], index=ids)
        ratings = dict(zip(ids, (people.ratings[span] / RATING_QUANTUM).tolist(), strict=True))
        loop = Loop(name, 200.0, 0.3, dot_in_order)
        steps = list(loop.run(movies, ratings, 60, lambda t, user=user_id: draws_of(SEED, name, user, t)))
        assert [people.catalogue.item_ids[row] for row in outcomes.rows[place]] == [step.item_id for step in steps]
        assert outcomes.explored[place].tolist() == [step.explored for step in steps]
        assert outcomes.ratings[place].tolist() == [step.rating for step in steps]
        assert outcomes.regrets[place].tolist() == [step.regret for step in steps]
        np.testing.assert_allclose(outcomes.sq_errors[place], [step.sq_error for step in steps], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SIMULATED)
@given(world=WORLDS, repeats=st.booleans(), decay=st.sampled_from(["fixed", "sqrt"]))
@settings(max_examples=60, deadline=None)
def test_every_policy_chooses_and_scores_as_when_asked_user_by_user(name, world, repeats, decay):
    people = random_people(**world)
    parameters = PolicySettings(s=7.0, epsilon=0.4, epsilon_decay=decay)
    outcomes = run(people, make_policy(name, parameters), default_terms(15, repeats=repeats))
    asked = ask_policies(people, name, 15, repeats=repeats, settings=parameters)
    assert_same(outcomes, asked)
    for place, steps in enumerate(asked):
        for step, one in enumerate(steps):
            if one is not None:  # the prediction is from before the rating is known
                off = float(outcomes.ratings[place, step]) - one.relevance
                assert outcomes.sq_errors[place, step] == off * off


@pytest.mark.parametrize("name", SIMULATED)
def test_a_long_run_of_users_of_many_sizes_equals_the_policies(name):
    people = random_people(3, users=25, items=150, kinds=20, dim=16, most=90)
    repeats = name.endswith("_compat")
    terms = compat_terms(70) if repeats else default_terms(70)
    assert_same(run(people, make_policy(name), terms), ask_policies(people, name, 70, repeats=repeats))


def test_identical_candidates_are_taken_in_the_order_of_the_catalogue():
    people = people_of(catalogue_of([[1.0]] * 5), {"u": {4: 5.0, 1: 5.0, 3: 5.0}})
    outcomes = run(people, make_policy("ucb_compat"), compat_terms(3))
    assert outcomes.rows.tolist() == [[1, 3, 4]]


def test_what_a_user_meets_does_not_depend_on_who_else_takes_part():
    people = random_people(11, users=9, items=50, kinds=6, dim=4, most=20)
    alone = people_of(
        people.catalogue,
        {"u4": {int(row): people.ratings[at] / RATING_QUANTUM for at, row in _span(people, 4)}},
        [(int(row), people.ratings[at] / RATING_QUANTUM) for u in range(9) if u != 4 for at, row in _span(people, u)]
        + _strangers(people),
    )
    for name in ("greedy", "ucb", "epsilon_greedy_compat"):
        together = run(people, make_policy(name), default_terms(12))
        by_itself = run(alone, make_policy(name), default_terms(12))
        assert by_itself.rows[0].tolist() == together.rows[4].tolist()


def _span(people, place):
    return [(at, people.rows[at]) for at in range(people.starts[place], people.starts[place + 1])]


def _strangers(people):
    """The ratings of those who take no part, whoever gave them: one an item and unit, to the same counts and sums."""
    counts, sums = people.statistics.counts.copy(), people.statistics.sums.copy()
    np.subtract.at(counts, people.rows, 1)
    np.subtract.at(sums, people.rows, people.ratings)
    return [
        (row, (sums[row] // counts[row] + (sums[row] % counts[row] if i == 0 else 0)) / RATING_QUANTUM)
        for row in np.flatnonzero(counts).tolist()
        for i in range(counts[row])
    ]
