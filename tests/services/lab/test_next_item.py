import json
import math

import numpy as np
import pytest

from recommender.ranking.baselines import MostPopular, item_counts
from recommender.ranking.log import RatingLog
from recommender.ranking.measures import gains
from recommender.ranking.next_item import cut_at, predict_next
from schemas.errors import DataError
from schemas.events import Item, RatingEvent
from services.lab.baselines import BASELINES, Baseline, Fitting, choose_parameters
from services.lab.next_item import content_vectors, gather_log, rank
from services.lab.next_item_figures import summarise

ITEMS = [Item(item_id=f"i{row}", genres=("Drama",) if row % 2 else ("War",), year=1990 + row % 3) for row in range(30)]


def rated(user, item, ts_ms=None, rating=4.0):
    return RatingEvent(user_id=user, item_id=item, rating=rating, ts_ms=ts_ms)


def random_log(seed=0, users=40, each=15):
    """Users who walk through neighbouring items, so that what comes next can be told."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([(start + np.arange(each)) % 30 for start in rng.integers(0, 30, size=users)])
    who = np.repeat(np.arange(users), each)
    order = np.argsort(np.tile(np.arange(each), users) + rng.uniform(0, 9, size=users)[who], kind="stable")
    return RatingLog(who[order], rows[order], np.full(users * each, 40_000), tuple(map(str, range(users))), 30)


def test_a_log_is_ordered_by_time_and_then_by_the_file():
    events = [rated("b", "y", 5), rated("a", "x", 3), rated("a", "z", 5), rated("c", "x", 1)]
    log, items = gather_log(events, [Item(item_id="x"), Item(item_id="w")])
    assert [item.item_id for item in items] == ["x", "w", "y", "z"] or [item.item_id for item in items][:2] == [
        "x",
        "w",
    ]
    order = [(log.user_ids[user], items[row].item_id) for user, row in zip(log.users, log.rows, strict=True)]
    assert order == [("c", "x"), ("a", "x"), ("b", "y"), ("a", "z")]
    assert log.ratings.tolist() == [40_000] * 4


def test_a_log_with_an_event_without_time_keeps_its_order():
    log, items = gather_log([rated("a", "x", 9), rated("a", "y"), rated("a", "z", 1)], [])
    assert [items[row].item_id for row in log.rows] == ["x", "y", "z"]


def test_a_log_without_ratings_is_refused():
    with pytest.raises(DataError, match="no rating"):
        gather_log([], ITEMS)


@pytest.fixture(scope="module")
def ranked():
    names = ["popular", "popular_live", "knn_recency", "markov"]
    return rank(random_log(), ITEMS, {"mine": lambda past: MostPopular(item_counts(past))}, names)


def test_every_ranker_meets_the_same_events(ranked):
    events = [each.events.tolist() for each in ranked.predictions.values()]
    assert all(each == events[0] for each in events)
    assert ranked.reports["mine"] == ranked.reports["popular"]
    assert ranked.best_baseline in ("knn_recency", "markov")


def test_summary_has_the_keys_of_the_contract_and_is_json(ranked):
    said = summarise(ranked)
    assert set(said["ranking"]) == {"mine"}
    assert set(said["baselines"]) == {"popular", "popular_live", "knn_recency", "markov"}
    for each in (*said["ranking"].values(), *said["baselines"].values()):
        assert {"ndcg@10", "hit@10", "mrr", "coverage"} <= set(each)
        assert {"with_history", "without_history", "entropy", "intra_list_distance", "error"} <= set(each)
    assert said["ranking"]["mine"]["against_best"]["ratio"] < 1
    assert said["baselines"]["markov"]["parameters"] == ranked.parameters["markov"]
    assert "NaN" not in json.dumps(said)


def test_parameters_are_chosen_by_what_lies_before_the_cut_only():
    log = random_log()
    rows = log.rows.copy()
    rows[480:] = rows[480:][::-1]
    other = RatingLog(log.users, rows, log.ratings, log.user_ids, log.size)
    names = ["knn_recency", "markov"]
    assert rank(log, ITEMS, {}, names).parameters == rank(other, ITEMS, {}, names).parameters


def test_the_best_of_what_is_tried_is_chosen(monkeypatch):
    def make(fitting, sign):
        return MostPopular(sign * item_counts(fitting.log))

    # Items 0..9 are rated by nine of ten users, the others by one of ten: what is popular comes next.
    rng = np.random.default_rng(0)
    chances = np.repeat([0.9, 0.1], [10, 20])
    taken = [rng.permutation(np.flatnonzero(rng.random(30) < chances))[:8] for _ in range(40)]
    rows = np.concatenate(taken)
    who = np.repeat(np.arange(40), [len(own) for own in taken])
    order = rng.permutation(len(rows))
    log = RatingLog(who[order], rows[order], np.full(len(rows), 40_000), tuple(map(str, range(40))), 30)
    monkeypatch.setitem(BASELINES, "signed", Baseline(make, {"sign": (-1, 1)}))
    assert choose_parameters(log, ["signed"]) == {"signed": {"sign": 1}}


def test_without_baselines_there_is_no_best_one():
    assert rank(random_log(), ITEMS, {}, []).best_baseline is None


def test_distances_are_of_genres_and_years():
    vectors = content_vectors(ITEMS)
    assert vectors.shape == (30, 5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
    assert content_vectors([Item(item_id="a")]).tolist() == [[0.0]]


@pytest.mark.parametrize("name", ["als", "linucb", "lints", "ease", "ease_recency_popular", "knn"])
def test_baselines_with_their_first_parameters_beat_chance(name):
    pytest.importorskip("implicit")
    pytest.importorskip("mabwiser")
    log = random_log()
    cut = cut_at(log)
    ranker = BASELINES[name].make(Fitting(log.before(cut)), **BASELINES[name].grid()[0])
    found = predict_next(log, cut, ranker)
    # Out of about 20 unseen items a random order has 10 in the list half of the time.
    assert float(gains(found.ranks)["mrr"].mean()) > math.log(20) / 20
