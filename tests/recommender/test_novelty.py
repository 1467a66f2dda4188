import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recommender.novelty import UNSEEN_LAST_T, compat_bonus, novelty, novelty_of_seen


def test_novelty_is_zero_at_the_first_epoch_of_the_notebook():
    assert novelty(1, UNSEEN_LAST_T, 200.0) == 0.0


def test_novelty_after_s_epochs_is_one_less_one_over_e():
    np.testing.assert_allclose(novelty(201, np.array([1]), 200.0), [1 - 1 / math.e], rtol=1e-14)


def test_item_rated_last_has_no_novelty_in_the_default_mode():
    assert novelty_of_seen(5, np.array([4]), 200.0).tolist() == [0.0]


def test_seen_item_counts_the_interactions_since_its_last_rating():
    # Rated at index 1 of 0..4: the events at 2, 3 and 4 came since.
    np.testing.assert_allclose(novelty_of_seen(5, np.array([1]), 3.0), [1 - 1 / math.e], rtol=1e-14)


@given(t=st.integers(1, 10_000), ago=st.integers(0, 5_000))
def test_seen_item_is_less_novel_than_an_unseen_one(t, ago):
    value = novelty_of_seen(t, np.array([max(t - 1 - ago, 0)]), 200.0)[0]
    assert 0.0 <= value < 1.0


@given(lags=st.lists(st.integers(0, 500), min_size=1, max_size=40))
def test_novelty_of_an_item_is_the_same_at_every_position(lags):
    together = novelty(501, np.array(lags), 200.0)
    assert together.tolist() == [float(novelty(501, lag, 200.0)) for lag in lags]


def test_bonus_is_zero_for_an_unseen_item_and_falls_with_the_count():
    # e = 3: sqrt(2 log2(4)/(N 3)) = sqrt(4/(3 N)): N = 1 gives 1.1547, N = 3 gives 2/3.
    np.testing.assert_allclose(compat_bonus(3, np.array([0, 1, 3])), [0.0, math.sqrt(4 / 3), 2 / 3], rtol=1e-15)
