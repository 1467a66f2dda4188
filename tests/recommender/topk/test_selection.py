import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.topk.selection import below_kth, kth_largest, write_best_first

numbers = st.sampled_from([-1.0, 0.0, 0.5, 2.0]) | st.floats(-1e30, 1e30)
lists = st.lists(numbers, min_size=1, max_size=80)


@settings(deadline=None)
@given(values=lists, data=st.data())
def test_kth_largest_is_that_of_the_sorted_values(values, data):
    k = data.draw(st.integers(1, len(values)))
    assert kth_largest(np.array(values), len(values), k) == sorted(values, reverse=True)[k - 1]


@settings(deadline=None)
@given(values=st.lists(numbers | st.just(-np.inf), min_size=1, max_size=80), k=st.integers(1, 90))
def test_at_least_k_values_reach_the_number_below_the_kth(values, k):
    found = below_kth(np.array(values), len(values), k)
    finite = [value for value in values if value > -np.inf]
    if len(finite) < k:
        assert found == -np.inf
    else:
        assert sum(value >= found for value in finite) >= k
        assert found >= min(finite)


def test_the_number_below_the_kth_leaves_few_more_of_evenly_spread_values():
    values = np.random.default_rng(0).permutation(10_000).astype(np.float64)
    assert 100 <= (values >= below_kth(values, 10_000, 100)).sum() <= 106


@settings(deadline=None)
@given(scores=lists, room=st.integers(1, 90))
def test_best_are_written_in_order_and_equal_ones_in_the_order_given(scores, room):
    rows = np.arange(0, 2 * len(scores), 2)
    best_scores, best_rows = np.zeros(room), np.zeros(room, dtype=np.int64)
    n = write_best_first(np.array(scores), rows, len(scores), best_scores, best_rows)
    order = sorted(range(len(scores)), key=lambda at: (-scores[at], at))[:room]
    assert n == len(order)
    assert best_rows[:n].tolist() == [2 * at for at in order]
    assert best_scores[:n].tolist() == [scores[at] for at in order]


@pytest.mark.parametrize("n", [31, 32, 33, 64])
def test_numbers_of_values_around_the_unrolled_loop(n):
    scores = np.random.default_rng(n).normal(size=n)
    best_scores, best_rows = np.zeros(n), np.zeros(n, dtype=np.int64)
    write_best_first(scores, np.arange(n), n, best_scores, best_rows)
    assert best_scores.tolist() == sorted(scores.tolist(), reverse=True)
