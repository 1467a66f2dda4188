"""The search for saturation, on systems whose capacity is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loadtest.knee import MOST_POINTS, NEAR, find_knee


@given(capacity=st.floats(20, 1e6), start=st.floats(10, 1e5))
def test_the_capacity_lies_between_the_two_rates_and_they_are_near(capacity, start):
    asked = []

    def is_saturated(rate):
        asked.append(rate)
        return rate > capacity

    knee = find_knee(is_saturated, start)
    assert len(asked) <= MOST_POINTS
    assert knee.holds <= capacity < knee.saturates < NEAR * knee.holds
    assert len(asked) == len(set(asked))


def test_rates_double_before_they_are_halved():
    asked = []
    find_knee(lambda rate: asked.append(rate) or rate > 300, 100)
    assert asked == [100, 200, 400, 300, 350, 325]


def test_a_system_that_keeps_up_with_nothing_or_everything_is_told_so():
    assert find_knee(lambda _: True, 100).holds is None
    assert find_knee(lambda _: False, 100).saturates is None


@pytest.mark.parametrize("arguments", [(0.0, 1.1), (1.0, 1.0)])
def test_a_search_that_cannot_end_is_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        find_knee(lambda _: True, *arguments)
