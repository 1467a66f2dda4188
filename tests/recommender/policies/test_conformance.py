"""What every policy promises, whatever its rule."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.draws import Draws
from recommender.policies import POLICIES, PolicySettings, SlateRequest, make_policy
from recommender.policies.registry import WITHOUT_STATISTICS
from recommender.statistics import StatisticsView
from schemas.errors import ModelUnavailable
from schemas.events import Item

pytestmark = pytest.mark.parametrize("name", list(POLICIES))

coordinates = st.sampled_from([-1.0, 0.0, 0.5, 1.0]) | st.floats(-3, 3)
ratings = st.integers(-10, 10).map(lambda half: half / 2)


@st.composite
def worlds(draw):
    """Vectors (or None), a history, statistics, rows in some order, k and epsilon; ties are common."""
    n, dim = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    vector = st.lists(coordinates, min_size=dim, max_size=dim)
    vectors = [draw(vector), *(draw(st.none() | vector) for _ in range(n - 1))]
    counts = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    sums = [draw(st.floats(-5.0 * count, 5.0 * count)) for count in counts]
    history = draw(st.lists(st.tuples(st.integers(0, n - 1), ratings), max_size=8))
    rows = draw(st.permutations(range(n)).map(lambda order: order[: draw(st.integers(0, n))]))
    return vectors, history, counts, sums, rows, draw(st.integers(1, 15)), draw(st.none() | st.floats(0, 1))


@pytest.fixture(scope="session")
def arrange(catalogue_of, profile_of, statistics_of):
    def make(world):
        vectors, history, counts, sums, rows, k, epsilon = world
        catalogue = catalogue_of(vectors)
        request = SlateRequest(k, np.array(rows, dtype=np.int64), epsilon)
        return request, profile_of(catalogue, history), catalogue, statistics_of(counts, sums)

    return make


def contents(slate):
    arrays = (slate.rows, slate.scores, slate.propensities, slate.explored)
    return [array.tolist() for array in arrays], slate.parts, slate.slate_propensity, slate.epsilon


@settings(max_examples=60, deadline=None)
@given(world=worlds())
def test_slate_is_well_formed_and_its_arithmetic_is_exact(name, arrange, world):
    request, *state = arrange(world)
    slate = make_policy(name).slate(request, *state, Draws(7, "u", "r"))
    k = min(request.k, len(request.rows))
    assert len(slate.rows) == len(slate.parts) == len(set(slate.rows.tolist())) == k
    assert set(slate.rows.tolist()) <= set(request.rows.tolist())
    assert np.isfinite(slate.scores).all()
    assert ((slate.propensities > 0) & (slate.propensities <= 1)).all()
    assert math.isclose(slate.slate_propensity, math.prod(slate.propensities.tolist()))
    assert slate.propensity_kind == "exact"
    for score, part in zip(slate.scores.tolist(), slate.parts, strict=True):
        product = part["relevance"] * part["novelty"]
        if part["bonus"] is not None:
            assert product + part["bonus"] == score
        else:
            assert part["untried"] is True
            assert name == "ucb_compat" or product + part["lift"] == score


@settings(max_examples=40, deadline=None)
@given(world=worlds())
def test_same_request_on_the_same_state_gives_the_same_answer(name, arrange, world):
    first, second = (make_policy(name).slate(*arrange(world), Draws(7, "u", "r")) for _ in range(2))
    assert contents(first) == contents(second)


@settings(max_examples=40, deadline=None)
@given(world=worlds())
def test_score_of_an_item_is_independent_of_the_other_rows(name, arrange, world):
    request, *state = arrange(world)
    policy = make_policy(name)
    together = policy.score(request.rows, *state)
    for position in range(len(request.rows)):
        alone = policy.score(request.rows[position : position + 1], *state)
        assert alone.score[0] == together.score[position]
        assert alone.parts()[0] == together.parts()[position]


@settings(max_examples=40, deadline=None)
@given(world=worlds())
def test_untried_items_stand_above_all_tried_ones(name, arrange, world):
    request, *state = arrange(world)
    scores = make_policy(name).score(request.rows, *state)
    if scores.untried is not None and 0 < scores.untried.sum() < len(scores.untried):
        assert scores.score[scores.untried].min() > scores.score[~scores.untried].max()


@settings(max_examples=40, deadline=None)
@given(world=worlds())
def test_scores_of_slots_that_did_not_explore_never_rise(name, arrange, world):
    slate = make_policy(name).slate(*arrange(world), Draws(7, "u", "r"))
    exploited = slate.scores[~slate.explored]
    assert (np.diff(exploited) <= 0).all()


@pytest.mark.parametrize("k", [1, 2])
def test_propensities_of_all_slates_sum_to_one(name, k, catalogue_of, profile_of, statistics_of):
    # Four items and epsilon 0.6: each of the 12 ordered pairs has at least 0.6/4 * 0.6/3 = 0.03, so 1,500 requests
    # miss one with probability below 12 * 0.97^1500 < 1e-18. Without exploration fewer slates appear, of sum 1.
    catalogue = catalogue_of([[1.0], [0.5], [1.0], [1.0]])
    state = profile_of(catalogue, [(1, 5.0)]), catalogue, statistics_of([0, 3, 0, 0], [0.0, 9.0, 0.0, 0.0])
    policy, request = make_policy(name), SlateRequest(k, np.arange(4), 0.6)
    slates = [policy.slate(request, *state, Draws(7, "u", f"r{i}")) for i in range(1500)]
    propensities = {tuple(slate.rows.tolist()): slate.slate_propensity for slate in slates}
    assert math.isclose(sum(propensities.values()), 1.0, rel_tol=1e-12)


def test_identical_items_score_identically_at_every_position_and_number_of_rows(name, catalogue_of, profile_of):
    # 1,682 items of which every seventh is the same; a BLAS product gives such rows different values.
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1682, 16))
    vectors[::7] = vectors[0]
    catalogue, statistics = catalogue_of(vectors), StatisticsView.empty(1682)
    profile = profile_of(catalogue, [(row, 3.5) for row in (1, 2, 3, 5, 8)])
    policy = make_policy(name)
    same = np.arange(0, 1682, 7)
    expected = policy.score(same[:1], profile, catalogue, statistics).score[0]
    for size in (2, 3, 17, 64, 241):
        assert set(policy.score(same[:size], profile, catalogue, statistics).score.tolist()) == {expected}
    assert set(policy.score(np.arange(1682), profile, catalogue, statistics).score[same].tolist()) == {expected}


def test_no_rows_give_an_empty_slate(name, catalogue_of, profile_of):
    catalogue = catalogue_of([[1.0]])
    state = profile_of(catalogue, []), catalogue, StatisticsView.empty(1)
    slate = make_policy(name).slate(SlateRequest(10, np.zeros(0, dtype=np.int64)), *state, Draws(7, "u", "r"))
    assert slate.rows.tolist() == []
    assert slate.parts == []
    assert slate.slate_propensity == 1.0


def test_catalogue_without_embeddings_is_served(name, catalogue_of, profile_of, statistics_of):
    catalogue = catalogue_of([[], [], []])
    state = profile_of(catalogue, [(0, 4.0)]), catalogue, statistics_of([1, 0, 2], [4.0, 0.0, 9.0])
    slate = make_policy(name).slate(SlateRequest(3, np.arange(3)), *state, Draws(7, "u", "r"))
    assert sorted(slate.rows.tolist()) == [0, 1, 2]
    assert np.isfinite(slate.scores).all()


@settings(max_examples=40, deadline=None)
@given(world=worlds(), others=st.lists(st.integers(0, 9), min_size=12, max_size=12))
def test_item_statistics_change_no_slate_of_a_policy_that_is_said_to_use_none(
    name, arrange, world, others, statistics_of
):
    request, profile, catalogue, statistics = arrange(world)
    counts = others[: catalogue.size]
    more = statistics_of(counts, [0.5 * count for count in counts])
    first, second = (
        make_policy(name).slate(request, profile, catalogue, each, Draws(7, "u", "r")) for each in (statistics, more)
    )
    if (first.fallback or name) in WITHOUT_STATISTICS:
        assert contents(first) == contents(second)


def test_item_statistics_change_scores_of_the_policies_that_use_them(name, catalogue_of, profile_of, statistics_of):
    catalogue = catalogue_of([[1.0], [0.5], [1.0]])
    profile = profile_of(catalogue, [(0, 5.0), (1, 2.0)])
    seen = [statistics_of([1, 2, count], [5.0, 3.0, 2.0 * count]) for count in (1, 9)]
    policy = make_policy(name)
    first, second = (
        policy.slate(SlateRequest(2, np.arange(3)), profile, catalogue, each, Draws(7, "u", "r")) for each in seen
    )
    assert first.fallback is None
    assert (contents(first) == contents(second)) == (name in WITHOUT_STATISTICS)


def test_statistics_of_another_catalogue_are_refused(name, catalogue_of, profile_of):
    catalogue = catalogue_of([[1.0], [2.0]])
    with pytest.raises(ValueError, match=r"statistics must have shape \[2\]"):
        make_policy(name).slate(
            SlateRequest(1, np.arange(2)),
            profile_of(catalogue, []),
            catalogue,
            StatisticsView.empty(3),
            Draws(7, "u", "r"),
        )


def test_version_names_the_policy_and_changes_with_its_parameters_only(name):
    version = make_policy(name).version
    assert version.startswith(f"{name}-")
    assert version == make_policy(name, PolicySettings()).version
    assert version != make_policy(name, PolicySettings(s=100.0)).version
    changed = make_policy(name, PolicySettings(c=3.0)).version != version
    assert changed == (name == "ucb")


def test_a_catalogue_without_the_model_of_a_policy_is_refused_and_others_are_served(name, profile_of):
    catalogue = build_catalogue([CatalogueEntry(Item(item_id="i0"), 0)])
    state = profile_of(catalogue, [(0, 4.0)]), catalogue, StatisticsView.empty(1)
    policy, request = make_policy(name), SlateRequest(1, np.arange(1))
    if policy.model is None:
        assert policy.slate(request, *state, Draws(7, "u", "r")).rows.tolist() == [0]
        assert policy.terms(request.rows, *state) is None
    else:
        with pytest.raises(ModelUnavailable, match=f"no release named '{policy.model}' is live"):
            policy.slate(request, *state, Draws(7, "u", "r"))


@settings(max_examples=40, deadline=None)
@given(world=worlds())
def test_terms_of_a_policy_with_a_model_sum_to_its_relevance(name, arrange, world):
    request, *state = arrange(world)
    policy = make_policy(name)
    terms = policy.terms(request.rows, *state)
    if terms is None:
        return
    scores = policy.score(request.rows, *state)
    assert (terms.prior + terms.personal == scores.relevance).all()
    np.testing.assert_allclose(terms.general + terms.shares.sum(axis=1), terms.personal, atol=1e-9)
