import numpy as np
import pytest

from recommender.ranking.baselines import ItemToItem, MostPopular, item_counts
from recommender.ranking.log import RatingLog, at_the_end
from recommender.ranking.measures import report
from recommender.ranking.next_item import cut_at, predict_next
from tests.recommender.ranking.worlds import log_of, ndcg, oracle, random_log


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("repeats", [False, True])
def test_predictions_equal_the_loop(seed, repeats):
    log = random_log(seed, repeats=repeats)
    cut = cut_at(log)
    weights = np.random.default_rng(seed).integers(0, 3, size=(log.size, log.size)).astype(float)
    ranker = ItemToItem(weights, np.zeros(log.size, dtype=np.int64), half_life=2.0)

    def score(seen, item, counts):
        newest = list(dict.fromkeys(reversed(seen)))  # of a repeated item, the newest rating counts
        ages = [seen[::-1].index(row) for row in newest]
        return sum(2 ** (-age / 2.0) * weights[row, item] for age, row in zip(ages, newest, strict=True))

    found = predict_next(log, cut, ranker)
    expected = oracle(log, cut, lambda *given: round(score(*given), 9))
    assert found.events.tolist() == list(expected)
    assert found.ranks.tolist() == [rank for rank, _ in expected.values()]
    for shown, (_, first) in zip(found.lists.tolist(), expected.values(), strict=True):
        assert [row for row in shown if row >= 0] == first
    assert report(found, np.eye(log.size)).everyone["ndcg@10"].mean == pytest.approx(ndcg(found.ranks), rel=1e-12)


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_live_popularity_counts_every_event_before_the_moment(batch, monkeypatch):
    monkeypatch.setattr("recommender.ranking.log.walk.__defaults__", (batch, 1))
    log = random_log(3)
    found = predict_next(log, 200, MostPopular())
    expected = oracle(log, 200, lambda _, item, counts: counts[item])
    assert found.ranks.tolist() == [rank for rank, _ in expected.values()]


def test_a_ranker_that_sees_no_future_says_the_same_whatever_comes_later():
    log = random_log(4)
    assert later_events_change_nothing(log, lambda past: ItemToItem(np.ones((30, 30)), item_counts(past), 3.0))
    assert later_events_change_nothing(log, lambda _: MostPopular())


def test_a_ranker_that_saw_the_future_is_caught():
    log = random_log(4)
    assert not later_events_change_nothing(log, lambda _: None, saw=lambda whole: MostPopular(item_counts(whole)))


def later_events_change_nothing(log, make, saw=None):
    """Whether predictions before event 270 stay when the events from there on are others."""
    cut, end = 200, 270
    rows = log.rows.copy()
    rows[end:] = (rows[end:] + 7) % log.size
    other = RatingLog(log.users, rows, log.ratings, log.user_ids, log.size)
    ranks = []
    for each in (log, other):
        found = predict_next(each, cut, make(each.before(cut)) if saw is None else saw(each))
        ranks.append(found.ranks[found.events < end].tolist())
    return ranks[0] == ranks[1]


def test_items_the_user_has_seen_are_not_ranked():
    # u0 rated 0 and 1; of the unseen 2 and 3 the first comes first among equals.
    log = log_of([(0, 0), (0, 1), (0, 3)], 4)
    found = predict_next(log, 2, MostPopular(np.array([9, 9, 0, 0])))
    assert found.ranks.tolist() == [1]
    assert found.lists[0].tolist() == [2, 3] + [-1] * 8


def test_an_item_rated_again_is_no_prediction_but_is_history():
    log = log_of([(0, 0), (0, 1), (0, 0), (0, 2)], 4)
    weights = np.zeros((4, 4))
    weights[0, 3], weights[1, 2] = 1.0, 1.5
    found = predict_next(log, 2, ItemToItem(weights, np.zeros(4, dtype=np.int64), half_life=1.0))
    assert found.events.tolist() == [3]
    assert found.ranks.tolist() == [1]  # 0 is the newest again: 3 has 1, 2 has 1.5/2


def test_scores_of_another_shape_or_not_finite_are_refused():
    log = random_log(5)

    class Wrong:
        def __init__(self, scores):
            self.given = scores

        def scores(self, _moments):
            return self.given

    with pytest.raises(ValueError, match="scores must have shape"):
        predict_next(log, 200, Wrong(np.zeros((1, 1))))
    moments = np.full((100, log.size), np.nan)  # a moment an event: no user of this log rates an item twice
    with pytest.raises(ValueError, match="scores must be finite, got nan"):
        predict_next(log, 200, Wrong(moments))


@pytest.mark.parametrize(("share", "message"), [(1.0, r"share must be in \(0, 1\), got 1.0"), (1e-6, "both sides")])
def test_a_cut_without_two_sides_is_refused(share, message):
    with pytest.raises(ValueError, match=message):
        cut_at(random_log(0), share)


def test_a_quick_look_is_at_every_nth_event_and_says_the_same_of_it():
    log = random_log(6)
    whole, few = (predict_next(log, 200, MostPopular(), stride=stride) for stride in (1, 3))
    assert few.events.tolist() == whole.events[::3].tolist()
    assert few.ranks.tolist() == whole.ranks[::3].tolist()


def test_the_moment_at_the_end_knows_every_event():
    log = log_of([(0, 0), (1, 2), (0, 1), (0, 0)], 3)
    moments = at_the_end(log, np.array([1, 0]))
    assert [past.rows.tolist() for past in moments.pasts] == [[2], [1, 0]]
    assert moments.pasts[1].ages.tolist() == [1, 0]
    assert moments.pasts[1].counts.tolist() == [1, 2]
    assert moments.counts.tolist() == [[2, 1, 1]] * 2
