"""Policies of the user's own beside the project's."""

import numpy as np
import pytest

from recommender.policies import PolicySettings
from recommender.simulation.experiment import Terms
from schemas.errors import ConfigurationError, PolicyError
from services.lab.plugins import load_plugin
from services.lab.simulation import run_policy
from tests.recommender.simulation.worlds import catalogue_of, compat_terms, default_terms, people_of, random_people

OWN = "tests.services.lab.own_policies:"
STEPS = 25


@pytest.fixture(scope="module")
def people():
    return random_people(2, users=5, items=30, kinds=6, dim=4, most=14)


def run(people, name, terms=compat_terms(STEPS)):  # noqa: B008 - a frozen value
    return run_policy(people, name, terms, PolicySettings(), seed=7)


@pytest.mark.parametrize("name", ["greedy", "Greedy"])
@pytest.mark.parametrize("terms", [compat_terms(STEPS), default_terms(STEPS)], ids=["compat", "default"])
def test_the_notebooks_greedy_as_a_plugin_does_what_greedy_compat_does(people, name, terms):
    own, ours = run(people, OWN + name, terms), run(people, "greedy_compat", terms)
    assert own.rows.tolist() == ours.rows.tolist()
    for each in ("ratings", "regrets", "sq_errors"):
        np.testing.assert_array_equal(getattr(own, each), getattr(ours, each))
    assert np.isnan(own.scores).all()


def test_update_features_and_compute_utility_of_a_class_are_used(people):
    outcomes = run(people, OWN + "Hooked")
    np.testing.assert_array_equal(outcomes.sq_errors, (outcomes.ratings - 3.0) ** 2)
    assert outcomes.rows.tolist() != run(people, "greedy_compat").rows.tolist()


def test_what_a_plugin_draws_is_the_same_for_the_same_seed_whoever_else_takes_part(people):
    outcomes = run(people, OWN + "Drawing")
    assert run(people, OWN + "Drawing").rows.tolist() == outcomes.rows.tolist()
    assert run_policy(people, OWN + "Drawing", compat_terms(STEPS), PolicySettings(), 8).rows.tolist() != (
        outcomes.rows.tolist()
    )
    place = int(np.argsort(people.sizes)[-2])  # not the last to be asked
    span = slice(people.starts[place], people.starts[place + 1])
    history = dict(zip(people.rows[span].tolist(), (people.ratings[span] / 10_000).tolist(), strict=True))
    alone = people_of(people.catalogue, {people.user_ids[place]: history})
    assert len(history) > 3
    assert run(alone, OWN + "Drawing").rows[0].tolist() == outcomes.rows[place].tolist()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Failing", "failed for user 'u' at step 0: RuntimeError: no idea"),
        ("stranger", "must return one of the 2 items offered to user 'u' at step 0, got 'nobody offered this'"),
        ("Misshapen", r"must give finite numbers of shape \[2\] for user 'u' at step 0"),
    ],
)
def test_a_plugin_at_fault_is_named_with_user_and_step(name, says):
    people = people_of(catalogue_of([[1.0, 0.0], [0.0, 1.0]]), {"u": {0: 4.0, 1: 3.0}})
    with pytest.raises(PolicyError, match=says):
        run(people, OWN + name)


def test_a_plugin_is_offered_only_what_is_open(people):
    outcomes = run(people, OWN + "Drawing", Terms(steps=14, mode="default", repeats=False))
    for place, size in enumerate(people.sizes.tolist()):
        assert len(set(outcomes.rows[place, :size])) == size


@pytest.mark.parametrize("name", ["no.such.module:x", OWN + "missing", OWN + "number", OWN + "math", OWN, ":x"])
def test_what_is_no_policy_is_refused(name):
    with pytest.raises(ConfigurationError, match=r"cannot be found|must be a callable"):
        load_plugin(name)
