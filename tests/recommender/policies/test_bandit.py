import math

import numpy as np
import pytest

from recommender.draws import Draws
from recommender.policies import PolicySettings, SlateRequest, make_policy
from recommender.statistics import StatisticsView


@pytest.fixture(scope="module")
def state(catalogue_of, profile_of, statistics_of):
    """Five items in falling order of their mean; the user rated the last two."""
    catalogue = catalogue_of([[1.0], [0.0], [1.0], [0.0], [1.0]])
    profile = profile_of(catalogue, [(3, 3.0), (4, 3.0)])
    return profile, catalogue, statistics_of([10] * 5, [50.0, 40.0, 30.0, 20.0, 10.0])


def slate_of(name, state, settings=None, request_id="r", **asked):
    request = SlateRequest(asked.pop("k", 2), np.arange(5), **asked)
    return make_policy(name, settings).slate(request, *state, Draws(7, "u", request_id))


def test_greedy_is_certain_and_has_no_epsilon(state):
    slate = slate_of("greedy", state)
    assert slate.rows.tolist() == [0, 1]
    assert slate.propensities.tolist() == [1.0, 1.0]
    assert (slate.slate_propensity, slate.epsilon) == (1.0, None)
    assert not slate.explored.any()


def test_random_draws_every_slot_uniformly(state):
    slate = slate_of("random", state)
    assert slate.propensities.tolist() == [1 / 5, 1 / 4]
    assert slate.slate_propensity == 1 / 20
    assert slate.explored.all()
    assert slate.epsilon is None


def test_epsilon_zero_is_greedy(state):
    slate = slate_of("epsilon_greedy", state, epsilon=0.0)
    assert slate.rows.tolist() == slate_of("greedy", state).rows.tolist()
    assert (slate.slate_propensity, slate.epsilon) == (1.0, 0.0)


@pytest.mark.parametrize(("name", "expected"), [("epsilon_greedy", 0.1), ("epsilon_greedy_compat", 0.3)])
def test_epsilon_is_the_setting_unless_the_request_has_one(name, expected, state):
    assert slate_of(name, state).epsilon == expected
    assert slate_of(name, state, epsilon=0.7).epsilon == 0.7


def test_decaying_epsilon_divides_by_the_root_of_the_epoch_plus_one(state):
    # t = 2, e = 3: 0.2/sqrt(4) = 0.1. What a request asks for stays as it is, and compat is always fixed.
    settings = PolicySettings(epsilon=0.2, epsilon_decay="sqrt")
    assert slate_of("epsilon_greedy", state, settings).epsilon == pytest.approx(0.1, rel=1e-15)
    assert slate_of("epsilon_greedy", state, settings, epsilon=0.2).epsilon == 0.2
    assert slate_of("epsilon_greedy_compat", state, settings).epsilon == 0.3


def test_candidates_order_decides_ties(catalogue_of, profile_of):
    catalogue = catalogue_of([[1.0]] * 5)
    request = SlateRequest(3, np.array([4, 1, 3, 0]))
    state = profile_of(catalogue, []), catalogue, StatisticsView.empty(5)
    assert make_policy("greedy").slate(request, *state, Draws(7, "u", "r")).rows.tolist() == [4, 1, 3]


def test_product_of_long_slates_stays_finite(catalogue_of, profile_of):
    catalogue = catalogue_of([[1.0]] * 600)
    state = profile_of(catalogue, []), catalogue, StatisticsView.empty(600)
    slate = make_policy("random").slate(SlateRequest(500, np.arange(600)), *state, Draws(7, "u", "r"))
    assert len(slate.rows) == 500
    assert math.isfinite(slate.slate_propensity)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"epsilon": 1.5}, r"epsilon must be in \[0, 1\], got 1.5"),
        ({"epsilon": math.nan}, r"epsilon must be in \[0, 1\], got nan"),
    ],
)
def test_requests_out_of_range_are_refused(asked, message, state):
    with pytest.raises(ValueError, match=message):
        slate_of("greedy", state, **asked)
