"""A slate of the nearest items found by an index is the slate of the distances of all rows: rows, bits and ties."""

import numpy as np
import pytest

from recommender.catalogue import CatalogueEntry, LabelledModel, build_catalogue
from recommender.draws import Draws
from recommender.embeddings.layers import Layer
from recommender.policies import Asked, PolicySettings, SlateRequest, actor, make_policy, prepare_search
from recommender.rl.distances import DISTANCES
from recommender.rl.indices import INDICES
from recommender.rl.model import ActorModel
from recommender.rl.state import state_size
from recommender.rows import AllBut
from recommender.statistics import StatisticsView
from recommender.topk.index import ItemIndex
from schemas.events import Item
from tests.recommender.policies.test_actor import profile_of

N, KNOWN, DIM = 3_000, 2_950, 6


def catalogue_of(vectors, layer, distance="euclidean", critics=()):
    """Items of which the model knows those with vectors."""
    ids = tuple(f"i{row}" for row in range(N))
    model = ActorModel("ddpg", ids[: len(vectors)], vectors, 2, (0.5, 5.0), (layer,), critics, distance)
    entries = [CatalogueEntry(Item(item_id=each), row) for row, each in enumerate(ids)]
    return build_catalogue(entries, models={"ddpg": LabelledModel("ddpg@1", model)})


def saying(action):
    """A layer that says the same to everybody."""
    return Layer(np.zeros((len(action), state_size(2, len(action)))), action)


@pytest.fixture(scope="module", params=[1.0, 1e-6, 1e6])
def world(request):
    """Many items, every fifth the same, some longer versions of others, some zero; fifty the model does not know."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(KNOWN, DIM)) * request.param
    vectors[::5], vectors[1::50], vectors[2::50] = vectors[0], 2.0 * vectors[3], 0.0
    size = state_size(2, DIM)
    layer = Layer(rng.normal(size=(DIM, size)) / size, rng.normal(size=DIM) * request.param)
    return catalogue_of(vectors, layer, critics=((Layer(rng.normal(size=(1, size + DIM)), np.zeros(1)),),))


def contents(slate):
    arrays = (slate.rows, slate.scores, slate.propensities, slate.explored)
    return [array.tolist() for array in arrays], slate.parts, slate.epsilon


def slates_of(catalogue, profile, rows, k=10, epsilon=None, **settings):
    policy, statistics = make_policy("ddpg", PolicySettings(**settings)), StatisticsView.empty(catalogue.size)
    asked = [Asked(SlateRequest(k, rows, epsilon), profile, Draws(7, "u", f"r{number}")) for number in range(2)]
    return [contents(slate) for slate in policy.slates(asked, catalogue, statistics)]


@pytest.fixture
def searched(monkeypatch):
    """How often an index was asked, and found something."""
    found, own = [], ItemIndex.shortlist
    monkeypatch.setattr(ItemIndex, "shortlist", lambda *given, **named: found.append(own(*given, **named)) or found[-1])
    return found


@pytest.mark.parametrize("distance", INDICES)
@pytest.mark.parametrize("k", [1, 10, 500])
@pytest.mark.parametrize("which", ["all", "filtered", "all but few", "all but many"])
@pytest.mark.parametrize("settings", [{}, {"actor_rerank": 50}, {"actor_epsilon": 0.5}])
def test_the_slate_is_that_of_all_distances(world, searched, monkeypatch, distance, k, which, settings):
    mask = np.random.default_rng(2).random(N)
    rows = {
        "all": np.arange(N),
        "filtered": np.flatnonzero(mask < 0.9),
        "all but few": AllBut(N, np.flatnonzero(mask > 0.99)),
        "all but many": AllBut(N, np.flatnonzero(mask > 0.9)),
    }[which]
    profile = profile_of(world, (7, 5.0), (11, 2.0))
    given = {"k": k, "actor_distance": distance, **settings}
    found = slates_of(world, profile, rows, **given)
    assert len(searched) == 2
    assert all(len(each) < N / 2 for each in searched)
    monkeypatch.setattr(actor, "shortlist_nearest", lambda *_: None)
    assert found == slates_of(world, profile, rows, **given)


@pytest.mark.parametrize("distance", sorted(DISTANCES.keys() - INDICES.keys()))
def test_other_distances_are_taken_to_all_rows(world, searched, distance):
    slates_of(world, profile_of(world, (7, 5.0), (11, 2.0)), np.arange(N), actor_distance=distance)
    assert searched == []


def assert_all_distances_agree(catalogue, monkeypatch, k):
    profile = profile_of(catalogue, (7, 5.0), (11, 2.0))
    rows = np.arange(catalogue.size)
    found = slates_of(catalogue, profile, rows, k=k)
    with monkeypatch.context() as patch:
        patch.setattr(actor, "shortlist_nearest", lambda *_: None)
        assert found == slates_of(catalogue, profile, rows, k=k)


def test_items_without_a_vector_come_last_though_zero_would_be_the_nearest(monkeypatch):
    vectors = np.abs(np.random.default_rng(3).normal(size=(KNOWN, DIM)))
    assert_all_distances_agree(catalogue_of(vectors, saying(-np.ones(DIM)), "inner"), monkeypatch, 10)
    assert_all_distances_agree(catalogue_of(vectors[:100], saying(-np.ones(DIM)), "inner"), monkeypatch, 480)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_ties_that_the_order_of_the_index_does_not_see_are_kept(monkeypatch, distance):
    # whole numbers up to 127 have exact codes, so a . x is told apart to a 2^-22th; distances to a point so far away
    # are whole multiples of 32 and tie
    vectors = np.random.default_rng(4).integers(-90, 90, (KNOWN, DIM)).astype(float)
    vectors[:, 0] = 127.0
    assert_all_distances_agree(catalogue_of(vectors, saying(np.full(DIM, 1e17)), distance), monkeypatch, 10)


def test_what_the_model_searches_by_is_made_before_the_first_request(world):
    prepare_search(world)
    assert INDICES["euclidean"] in world.models["ddpg"]._derived
