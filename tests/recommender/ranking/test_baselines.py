import numpy as np
import pytest

from recommender.ranking.baselines import ease_weights, knn_weights, markov_weights, together
from recommender.ranking.log import RatingLog
from tests.recommender.ranking.worlds import log_of, random_log


def test_pairs_count_users_who_rated_both():
    pairs = together(log_of([(0, 0), (0, 1), (1, 1), (1, 2), (0, 1)], 4))
    assert pairs.tolist() == [[1, 1, 0, 0], [1, 2, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_neighbours_are_shrunk_cosines():
    pairs = together(log_of([(0, 0), (0, 1), (1, 1), (1, 2)], 4))
    weights = knn_weights(pairs, shrinkage=1.0, neighbours=4)
    assert weights[0, 1] == pytest.approx(1 / (np.sqrt(2) + 1), rel=1e-12)
    assert np.diag(weights).tolist() == [0.0] * 4
    assert not weights[3].any()


def test_only_the_nearest_neighbours_of_an_item_are_kept():
    weights = knn_weights(together(random_log(0)), shrinkage=0.0, neighbours=3)
    assert ((weights > 0).sum(axis=0) >= 3).all()
    whole = knn_weights(together(random_log(0)), shrinkage=0.0, neighbours=30)
    for item in range(30):
        kept = np.flatnonzero(weights[:, item])
        assert weights[kept, item].min() >= np.delete(whole[:, item], kept).max()


def test_ease_is_the_ridge_regression_of_each_item_on_the_others():
    log = random_log(1, events=120)
    rated = np.zeros((len(log.user_ids), log.size))
    rated[log.users, log.rows] = 1.0
    weights = ease_weights(together(log), ridge=3.0)
    for item in range(log.size):
        others = np.delete(np.arange(log.size), item)
        x = rated[:, others]
        expected = np.linalg.solve(x.T @ x + 3.0 * np.eye(len(others)), x.T @ rated[:, item])
        np.testing.assert_allclose(weights[others, item], expected, atol=1e-10)


def test_transitions_decay_with_the_distance_of_the_pair():
    # u0: 0 1 2; u1: 0 2. From 0: to 1 once at distance 1, to 2 once at 2 and once at 1.
    weights = markov_weights(log_of([(0, 0), (1, 0), (0, 1), (1, 2), (0, 2)], 3), decay=0.5, smoothing=1.0)
    np.testing.assert_allclose(weights, [[0, 1 / 3.5, 1.5 / 3.5], [0, 0, 1 / 2], [0, 0, 0]])


def test_transitions_are_within_a_user():
    log = log_of([(0, 0), (1, 1), (0, 2)], 3)
    assert markov_weights(log, decay=0.0, smoothing=0.0 + 1e-12)[1].tolist() == [0.0, 0.0, 0.0]


def test_logs_out_of_range_are_refused():
    users, rows = np.array([0, 1]), np.array([0, 5])
    with pytest.raises(ValueError, match=r"rows must be in \[0, 5\), got 0..5"):
        RatingLog(users, rows, rows, ("a", "b"), 5)
    with pytest.raises(ValueError, match="same shape"):
        RatingLog(users, rows[:1], rows, ("a", "b"), 9)
