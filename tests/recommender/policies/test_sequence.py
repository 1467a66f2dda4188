import math

import numpy as np
import pytest

from recommender.catalogue import CatalogueEntry, LabelledModel, build_catalogue
from recommender.draws import Draws
from recommender.hashing import hash_id
from recommender.ledger import ENTRY
from recommender.policies import Asked, PolicySettings, SlateRequest, make_policy
from recommender.policies.search import search
from recommender.policies.sequence import state_of
from recommender.profile import build_profile
from recommender.sequence.model import PRIOR_COUNT, REACH, SHRINKAGE, STAGES, SequenceModel
from recommender.statistics import StatisticsView
from schemas.events import Item


def model_of(n, *, dim=3, rates=(0.7, 0.05), seed=0, popularity_weight=0.5):
    rng = np.random.default_rng(seed)
    return SequenceModel(
        item_ids=tuple(f"i{row}" for row in range(n)),
        inputs=rng.normal(size=(len(rates), n, dim)),
        stages=rng.normal(size=(STAGES, dim)),
        outputs=rng.normal(size=(n, dim)),
        bias=rng.normal(size=n),
        rates=np.array(rates),
        popularity=rng.uniform(0, 5, size=n),
        counts=rng.integers(0, 9, size=n),
        popularity_weight=popularity_weight,
    )


def catalogue_of(model, n):
    """Items i0..i(n-1) with the model; what it does not know is new."""
    entries = [CatalogueEntry(Item(item_id=f"i{row}"), row) for row in range(n)]
    return build_catalogue(entries, models={"sequence": LabelledModel("sequence@1", model)})


def profile_of(catalogue, history, user_id="u"):
    """Rows in time order, repeats allowed, -1 for an item outside the catalogue."""
    entries = {}
    for t, row in enumerate(history):
        count = entries.get(row, (0, 0))[0]
        entries[row] = (count + 1, t)
    known = [(hash_id(f"i{row}"), count, last_t, 40_000) for row, (count, last_t) in entries.items() if row >= 0]
    columns = np.sort(np.array(known, dtype=ENTRY), order="item")
    return build_profile(user_id, len(history), None, columns, catalogue)


def statistics_of(counts):
    counts = np.array(counts, dtype=np.int64)
    return StatisticsView(counts, np.zeros(len(counts), dtype=np.int64), int(counts.sum()), 0)


def oracle(model, history, counts, item):
    """The formula, one number after the other."""
    t, newest = len(history), {row: last_t for last_t, row in enumerate(history)}
    theta = model.stages[min(int(math.log2(t + 1)), STAGES - 1)].tolist()
    for rate, table in zip(model.rates.tolist(), model.inputs.tolist(), strict=True):
        weights = {row: math.exp(-rate * (t - 1 - last_t)) for row, last_t in newest.items() if 0 <= row < len(table)}
        for row, weight in weights.items():
            share = weight / math.sqrt(SHRINKAGE + sum(weights.values()))
            theta = [a + share * e for a, e in zip(theta, table[row], strict=True)]
    size = len(counts)
    known = len(model.item_ids)
    q = [
        (model.popularity[i] + max(counts[i] - model.counts[i], 0) if i < known else counts[i]) + PRIOR_COUNT
        for i in range(size)
    ]
    prior = model.popularity_weight * math.log(q[item] / sum(q))
    if item >= known:
        return prior
    return prior + model.bias[item] + sum(a * x for a, x in zip(theta, model.outputs[item].tolist(), strict=True))


@pytest.mark.parametrize("history", [[], [3], [0, 5, 2, 9], [4, 4, 1, 4], [11, 2, -1, 7]])
def test_scores_equal_the_formula_written_as_loops(history):
    model = model_of(10)
    catalogue = catalogue_of(model, 12)  # i10 and i11 are new
    counts = np.random.default_rng(1).integers(0, 20, size=12)
    rows = np.setdiff1d(np.arange(12), history)
    state = profile_of(catalogue, history), catalogue, statistics_of(counts)
    scores = make_policy("sequence").score(rows, *state)
    expected = [oracle(model, history, counts.tolist(), row) for row in rows.tolist()]
    np.testing.assert_allclose(scores.score, expected, rtol=1e-12)
    assert scores.bonus.tolist() == [0.0] * len(rows)


def test_a_user_without_history_gets_what_is_popular_with_those_who_begin():
    model = model_of(10, popularity_weight=1.0)
    catalogue = catalogue_of(model, 10)
    statistics = statistics_of(np.full(10, 5))
    profile = profile_of(catalogue, [])
    assert state_of(profile, catalogue.models["sequence"].value).tolist() == model.stages[0].tolist()
    slate = make_policy("sequence").slate(SlateRequest(10, np.arange(10)), profile, catalogue, statistics, draws())
    general = catalogue.models["sequence"].value.prior(statistics) + model.outputs @ model.stages[0]
    assert slate.rows.tolist() == np.argsort(-general, kind="stable").tolist()


def test_a_new_item_rises_as_it_is_rated():
    catalogue = catalogue_of(model_of(10, popularity_weight=1.0), 11)
    profile = profile_of(catalogue, [0, 1])
    policy = make_policy("sequence")
    scores = [
        policy.score(np.array([10]), profile, catalogue, statistics_of([9] * 10 + [count])).score[0]
        for count in (0, 1, 100)
    ]
    assert scores[0] < scores[1] < scores[2]


def test_a_seen_item_loses_most_when_it_was_just_rated():
    # Oldest first i0, i1: ratings since are 1 and 0, so the bonuses are log(1 - exp(-2/s)) and log(1 - exp(-1/s)).
    catalogue = catalogue_of(model_of(4), 4)
    profile = profile_of(catalogue, [0, 1])
    scores = make_policy("sequence", PolicySettings(s=10.0)).score(
        np.arange(4), profile, catalogue, statistics_of([0] * 4)
    )
    expected = [math.log(1 - math.exp(-2 / 10)), math.log(1 - math.exp(-1 / 10)), 0.0, 0.0]
    np.testing.assert_allclose(scores.bonus, expected, rtol=1e-12)


def test_only_the_newest_items_count():
    n = REACH + 40
    catalogue = catalogue_of(model_of(n), n)
    model = catalogue.models["sequence"].value
    newest = profile_of(catalogue, [-1] * 40 + list(range(40, n)))
    everything = profile_of(catalogue, list(range(n)))
    assert state_of(everything, model).tolist() == state_of(newest, model).tolist()


def test_state_is_that_of_the_order_in_time_not_of_the_ledger():
    catalogue = catalogue_of(model_of(6), 6)
    model = catalogue.models["sequence"].value
    one, other = (state_of(profile_of(catalogue, history), model).tolist() for history in ([0, 1, 2], [2, 1, 0]))
    assert one != other


def test_epsilon_is_its_own_setting():
    settings = PolicySettings(sequence_epsilon=0.25, epsilon=0.5)
    catalogue = catalogue_of(model_of(5), 5)
    state = profile_of(catalogue, [0]), catalogue, statistics_of([0] * 5)
    slate = make_policy("sequence", settings).slate(SlateRequest(2, np.arange(1, 5)), *state, draws())
    assert slate.epsilon == 0.25
    assert make_policy("sequence", settings).version != make_policy("sequence").version


def test_the_search_of_a_large_catalogue_gives_the_slate_of_all_scores():
    n = 9_000
    catalogue = catalogue_of(model_of(n - 100, dim=8), n)
    profile = profile_of(catalogue, list(range(0, 3_000, 17)))
    statistics = statistics_of(np.random.default_rng(2).integers(0, 9, size=n))
    policy = make_policy("sequence")
    for rows in (np.arange(n), np.setdiff1d(np.arange(n), profile.rows)):
        request = SlateRequest(50, rows)
        asked = [Asked(request, profile, draws())]
        assert search(asked, policy.order_of, catalogue, statistics, policy.settings) != [None]
        slate = policy.slate(request, profile, catalogue, statistics, draws())
        scores = policy.score(rows, profile, catalogue, statistics).score
        best = np.argsort(-scores, kind="stable")[:50]
        assert slate.rows.tolist() == rows[best].tolist()
        assert slate.scores.tolist() == scores[best].tolist()


def draws():
    return Draws(7, "u", "r")
