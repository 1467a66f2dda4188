import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance as scipy_distance

from recommender.rl.distances import DISTANCES, FARTHEST, MINKOWSKI_P, distances_to

ORACLES = {
    "euclidean": scipy_distance.euclidean,
    "cosine": scipy_distance.cosine,
    "correlation": scipy_distance.correlation,
    "canberra": scipy_distance.canberra,
    "minkowski": lambda a, x: scipy_distance.minkowski(a, x, MINKOWSKI_P),
    "chebyshev": scipy_distance.chebyshev,
    "braycurtis": scipy_distance.braycurtis,
    "cityblock": scipy_distance.cityblock,
    "inner": lambda a, x: -float(np.dot(a, x)),
}
coordinates = st.sampled_from([-1.0, 0.0, 1.0, 0.5]) | st.floats(-100, 100).map(lambda value: round(value, 3))


def worked(name, action, vector):
    return distances_to(name, np.array(action), np.array([vector]))[0]


def test_there_are_nine_and_each_is_compared():
    assert len(DISTANCES) == 9
    assert set(ORACLES) == set(DISTANCES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # a = (1, 2, 2), x = (4, -2, 2): a - x = (-3, 4, 0), a + x = (5, 0, 4), a . x = 4, |a| = 3, |x| = sqrt(24)
        ("euclidean", 5.0),
        ("cosine", 1 - 4 / (3 * 24**0.5)),
        # less their means, 5/3 and 4/3: (-2, 1, 1)/3 and (8, -10, 2)/3; -24 / sqrt(6 * 168)
        ("correlation", 1 + 24 / (6 * 168) ** 0.5),
        ("canberra", 3 / 5 + 4 / 4),
        ("minkowski", 91 ** (1 / 3)),
        ("chebyshev", 4.0),
        ("braycurtis", 7 / 9),
        ("cityblock", 7.0),
        ("inner", -4.0),
    ],
)
def test_distances_worked_by_hand(name, expected):
    assert worked(name, [1.0, 2.0, 2.0], [4.0, -2.0, 2.0]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("name", DISTANCES)
@settings(max_examples=80, deadline=None)
@given(pair=st.integers(2, 6).flatmap(lambda dim: st.tuples(*[st.lists(coordinates, min_size=dim, max_size=dim)] * 2)))
def test_distances_equal_those_of_scipy_where_it_has_one(name, pair):
    action, vector = (np.array(each) for each in pair)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = ORACLES[name](action, vector)
    got = worked(name, action, vector)
    if name in ("cosine", "correlation") and (np.ptp(action) == 0 or np.ptp(vector) == 0):
        assert 0.0 <= got <= 2.0  # scipy divides what rounding leaves of 0 by itself
    elif np.isfinite(expected):
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)
    else:
        assert np.isfinite(got)


@pytest.mark.parametrize("name", DISTANCES)
def test_identical_vectors_are_as_far_at_every_position_and_beside_any_others(name):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(9_000, 17))
    vectors[::7] = vectors[0]
    action = rng.normal(size=17)
    expected = distances_to(name, action, vectors[:1])[0]
    assert set(distances_to(name, action, vectors)[::7].tolist()) == {expected}
    assert set(distances_to(name, action, vectors[::7][:5]).tolist()) == {expected}


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize(
    ("action", "vector"),
    [
        ([0.0, 0.0], [0.0, 0.0]),
        ([0.0, 0.0], [1.0, 2.0]),
        ([1.0, 2.0], [0.0, 0.0]),
        ([1.0, 2.0], [-1.0, -2.0]),
        ([1.0, 1.0], [2.0, 2.0]),
        ([1e200, -1e200], [-1e100, 1e100]),
        ([np.inf, 1.0], [1.0, 2.0]),
        ([], []),
    ],
)
def test_distances_are_always_finite(name, action, vector):
    got = worked(name, action, vector)
    assert np.isfinite(got)
    assert abs(got) <= FARTHEST


def test_what_has_no_direction_is_at_a_right_angle_to_everything():
    assert worked("cosine", [0.0, 0.0], [1.0, 2.0]) == 1.0
    assert worked("correlation", [3.0, 4.0], [2.0, 2.0]) == 1.0


def test_opposite_vectors_are_as_far_as_braycurtis_goes():
    assert worked("braycurtis", [1.0, 2.0], [-1.0, -2.0]) == FARTHEST


def test_an_unknown_distance_and_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"distance must be one of euclidean, .*, got 'manhattan'"):
        distances_to("manhattan", np.zeros(2), np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"action must have shape \[D\]"):
        distances_to("cosine", np.zeros(3), np.zeros((1, 2)))
