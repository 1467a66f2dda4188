import math

import numpy as np
import pytest

from recommender.ranking.measures import compare, estimate, gains, report
from recommender.ranking.next_item import Predictions


def predictions_of(ranks, users, lists=None, known=None):
    ranks, users = np.array(ranks), np.array(users)
    shown = np.full((len(ranks), 10), -1) if lists is None else np.array(lists)
    is_known = np.ones(len(ranks), dtype=np.bool_) if known is None else np.array(known)
    return Predictions(np.arange(len(ranks)), users, is_known, ranks, shown)


def test_ranks_beyond_ten_count_in_mrr_only():
    worth = gains(np.array([9, 10]))
    assert worth["ndcg@10"].tolist() == [1 / math.log2(11), 0.0]
    assert worth["hit@10"].tolist() == [1.0, 0.0]
    assert worth["mrr"].tolist() == [1 / 10, 1 / 11]


def test_error_over_users_is_that_of_a_mean_when_each_user_has_one_prediction():
    values = np.random.default_rng(0).normal(size=50)
    expected = values.std(ddof=1) / math.sqrt(50)
    assert estimate(values, np.arange(50)).error == pytest.approx(expected, rel=1e-12)


def test_copies_of_a_prediction_do_not_make_it_more_certain():
    values = np.random.default_rng(0).normal(size=50)
    once = estimate(values, np.arange(50)).error
    assert estimate(np.repeat(values, 9), np.repeat(np.arange(50), 9)).error == pytest.approx(once, rel=1e-12)


def test_error_of_one_user_is_unknown():
    assert math.isnan(estimate(np.array([1.0, 0.0]), np.array([3, 3])).error)
    assert math.isnan(estimate(np.zeros(0), np.zeros(0, dtype=np.int64)).mean)


def test_report_tells_known_users_from_new_ones():
    found = report(predictions_of([0, 0, 20], [0, 1, 2], known=[True, True, False]), np.eye(4))
    assert (found.known["hit@10"].mean, found.new["hit@10"].mean) == (1.0, 0.0)
    assert (found.predictions, found.users) == (3, 3)


def test_comparison_is_paired_by_event():
    one, other = predictions_of([0, 5, 3], [0, 1, 2]), predictions_of([1, 6, 4], [0, 1, 2])
    found = compare(one, other, "mrr")
    differences = np.array([1 - 1 / 2, 1 / 6 - 1 / 7, 1 / 4 - 1 / 5])
    assert found.mean == pytest.approx(differences.mean(), rel=1e-12)
    assert found.error == pytest.approx(differences.std(ddof=1) / math.sqrt(3), rel=1e-12)
    with pytest.raises(ValueError, match="same events"):
        compare(one, predictions_of([1], [0]))
