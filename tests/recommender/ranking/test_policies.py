import numpy as np
import pytest

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.ledger import LastEvent, Ledger, apply_event, entries
from recommender.policies import POLICIES, make_policy
from recommender.profile import build_profile
from recommender.ranking.log import walk
from recommender.ranking.next_item import predict_next
from recommender.ranking.policies import PolicyRanker
from recommender.statistics import StatisticsView
from schemas.events import Item
from tests.policy_models import labelled_models
from tests.recommender.ranking.worlds import log_of, random_log


def catalogue_of(size):
    vectors = np.random.default_rng(0).normal(size=(size, 3))
    entries = [CatalogueEntry(Item(item_id=f"i{row}"), row) for row in range(size)]
    models = labelled_models([entry.item.item_id for entry in entries], vectors)
    return build_catalogue(entries, lambda _: (vectors, np.ones(size, dtype=np.bool_)), b"12345678", "test@1", models)


@pytest.mark.parametrize("name", [name for name in POLICIES if not name.startswith("random")])
def test_later_events_change_nothing_a_policy_says(name):
    log = random_log(0)
    rows = log.rows.copy()
    rows[260:] = (rows[260:] + 7) % log.size
    other = type(log)(log.users, rows, log.ratings, log.user_ids, log.size)
    ranker = PolicyRanker(make_policy(name), catalogue_of(log.size))
    first, second = (predict_next(each, 230, ranker) for each in (log, other))
    before = [found.ranks[found.events < 260].tolist() for found in (first, second)]
    assert before[0] == before[1]
    assert len(before[0]) == 30


@pytest.mark.parametrize("name", ["sequence", "linear", "greedy"])
def test_scores_are_those_of_the_ledger_that_the_worker_would_have(name):
    log = log_of([(0, 3), (1, 1), (0, 5), (0, 3), (1, 2), (0, 8)], 12, [40_000, 10_000, 20_000, 50_000, 30_000, 10_000])
    catalogue, policy = catalogue_of(12), make_policy(name)
    moments, targets = next(iter(walk(log, 5)))
    assert targets.events.tolist() == [5]
    ledger = Ledger.empty(0)
    for event in (0, 2, 3):
        item, rating = int(catalogue.hashes[log.rows[event]]), int(log.ratings[event])
        ledger = apply_event(ledger, item=item, rating=rating, event=0, at=LastEvent(1, 0, event), x=None)
    counts = np.bincount(log.rows[:5], minlength=12)
    sums = np.bincount(log.rows[:5], weights=log.ratings[:5], minlength=12).astype(np.int64)
    statistics = StatisticsView(counts, sums, 5, int(sums.sum()))
    profile = build_profile("0", 3, None, entries(ledger), catalogue)
    expected = policy.score(np.arange(12), profile, catalogue, statistics)
    assert PolicyRanker(policy, catalogue).scores(moments)[0].tolist() == expected.score.tolist()
