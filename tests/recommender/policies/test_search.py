"""A slate found by the index is the slate from all scores: rows, bits, propensities and parts."""

from dataclasses import replace

import numpy as np
import pytest

from recommender.draws import Draws
from recommender.policies import Asked, SlateRequest, make_policy, search
from recommender.rows import AllBut
from recommender.topk.index import ItemIndex

N = 10_000


@pytest.fixture(scope="module")
def world(catalogue_of, profile_of, statistics_of):
    """Many items of which every fifth is the same and half were never rated; a user who rated some of each."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(N, 8)) / 3
    vectors[::5] = vectors[0]
    catalogue = catalogue_of(vectors)
    counts = np.where(rng.random(N) < 0.5, 0, rng.integers(1, 30, N))
    counts[::5] = 0
    sums = counts * np.round(rng.uniform(0.5, 5.0, N), 1)
    history = [(int(row), float(rng.integers(1, 6))) for row in rng.integers(0, N, 40)]
    return catalogue, profile_of(catalogue, history), profile_of(catalogue, []), statistics_of(counts, sums)


def contents(slate):
    arrays = (slate.rows, slate.scores, slate.propensities, slate.explored)
    return [array.tolist() for array in arrays], slate.parts, slate.slate_propensity, slate.epsilon


def row_sets(profile):
    everything, mask = np.arange(N), np.random.default_rng(2).random(N)
    return {
        "all": everything,
        "unseen": np.setdiff1d(everything, profile.rows),
        "filtered": np.flatnonzero(mask < 0.9),
        "few left out": np.flatnonzero(mask < 0.99),
        "all but few": AllBut(N, np.flatnonzero(mask > 0.99)),
        "all but many": AllBut(N, np.flatnonzero(mask > 0.9)),
        "all but the seen": AllBut(N, profile.rows[np.argsort(profile.rows)]),
    }


@pytest.mark.parametrize("name", ["greedy", "epsilon_greedy", "ucb"])
@pytest.mark.parametrize("k", [1, 10, 500])
@pytest.mark.parametrize(
    "which", ["all", "unseen", "filtered", "few left out", "all but few", "all but many", "all but the seen"]
)
@pytest.mark.parametrize("is_new", [False, True])
def test_slate_is_that_of_all_scores(world, monkeypatch, name, k, which, is_new):
    catalogue, rated, new, statistics = world
    profile = new if is_new else rated
    policy = make_policy(name)
    request = SlateRequest(k, row_sets(profile)[which])
    asked = []
    for way in ("top_k", "shortlist"):
        own = getattr(ItemIndex, way)
        monkeypatch.setattr(ItemIndex, way, lambda *given, of=own, **named: asked.append(1) or of(*given, **named))
    for number in range(3):
        draws = Draws(7, "u", f"r{number}")
        found = policy.slate(request, profile, catalogue, statistics, draws)
        plain = replace(policy, order_of=None, shortlist=None).slate(request, profile, catalogue, statistics, draws)
        assert contents(found) == contents(plain)
    assert len(asked) == 3


def test_ucb_is_that_of_all_scores_when_few_items_are_untried(world, catalogue_of, profile_of, statistics_of):
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 9, N)
    counts[[5, 70, 4_000]] = 0
    catalogue = world[0]
    profile = profile_of(catalogue, [(5, 4.0), (9, 2.0)])
    policy, request = make_policy("ucb"), SlateRequest(10, np.arange(N))
    state = profile, catalogue, statistics_of(counts, counts * 3.5)
    found = policy.slate(request, *state, Draws(7, "u", "r"))
    plain = replace(policy, order_of=None, shortlist=None).slate(request, *state, Draws(7, "u", "r"))
    assert contents(found) == contents(plain)
    assert {70, 4_000} <= set(found.rows.tolist())


def test_what_the_user_rated_competes_with_its_own_novelty(catalogue_of, profile_of, statistics_of):
    # Relevance below 0: a seen item has less of it, so the best items are the ones just seen.
    catalogue = catalogue_of(np.ones((N, 1)))
    profile = profile_of(catalogue, [(17, -5.0), (4_321, -5.0)])
    policy, request = make_policy("greedy"), SlateRequest(3, np.arange(N))
    slate = policy.slate(request, profile, catalogue, statistics_of([1] * N, [-5.0] * N), Draws(7, "u", "r"))
    assert slate.rows.tolist()[:2] == [4_321, 17]


@pytest.mark.parametrize("rows", [np.arange(100), np.arange(N)[::-1]])
def test_few_rows_and_rows_in_another_order_are_scored_plainly(world, rows):
    catalogue, rated, _, statistics = world
    greedy, ucb, request = make_policy("greedy"), make_policy("ucb"), SlateRequest(5, rows)
    asked = [Asked(request, rated, Draws(7, "u", "r"))]
    assert search.search(asked, greedy.order_of, catalogue, statistics, greedy.settings) == [None]
    assert ucb.shortlist(request, rated, catalogue, statistics, ucb.settings) is None


@pytest.mark.parametrize("name", ["greedy", "epsilon_greedy", "ucb", "random"])
def test_slates_made_together_are_those_made_alone(world, name):
    catalogue, rated, new, statistics = world
    policy = make_policy(name)
    asked = [
        Asked(SlateRequest(k, rows), profile, Draws(7, "u", f"{k}-{which}"))
        for profile in (rated, new)
        for which, rows in row_sets(profile).items()
        for k in (1, 10, 10, 300)
    ]
    order = np.random.default_rng(4).permutation(len(asked)).tolist()
    together = policy.slates([asked[place] for place in order], catalogue, statistics)
    for place, slate in zip(order, together, strict=True):
        assert contents(slate) == contents(policy.slates([asked[place]], catalogue, statistics)[0])


def test_a_prepared_catalogue_has_its_index(world, catalogue_of, monkeypatch):
    search.prepare_search(world[0])
    index = world[0].derived(ItemIndex)
    assert world[0].derived(ItemIndex) is index
    small = catalogue_of([[1.0]])
    monkeypatch.setattr(search, "ItemIndex", None)
    search.prepare_search(small)
