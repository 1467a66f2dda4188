import numpy as np
import pytest

from recommender.catalogue import CatalogueEntry, LabelledModel, build_catalogue
from recommender.draws import Draws
from recommender.embeddings.layers import Layer
from recommender.hashing import hash_id
from recommender.ledger import Ledger, apply_event, entries
from recommender.ledger.layout import LastEvent
from recommender.policies import Asked, PolicySettings, SlateRequest, make_policy
from recommender.policies.actor import aligned_of
from recommender.policies.frame import frame_of
from recommender.profile import Rated, build_profiles
from recommender.rl.distances import DISTANCES, FARTHEST, distances_to
from recommender.rl.model import ActorModel
from recommender.rl.state import make_states
from recommender.statistics import StatisticsView
from schemas.events import Item

# D = 2, F = 2: a state is [x_1, x_2, r'_1, r'_2]. This actor says the vector of the newest item.
NEWEST = (Layer(np.array([[0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0]]), np.zeros(2)),)
# Critics on [state, action]: the first coordinate of an item less its second, and 1.
FIRST = (Layer(np.array([[0, 0, 0, 0, 0, 0, 1, -1]]), np.zeros(1)),)
ONE = (Layer(np.zeros((1, 8)), np.ones(1)),)
LINE = np.array([[float(row), 0.0] for row in range(6)])


def catalogue_of(vectors=LINE, size=None, *, name="ddpg", **changed):
    """Items i0.. of which the model knows those with vectors."""
    size = len(vectors) if size is None else size
    given = {"frame_size": 2, "scale": (0.5, 5.0), "actor": NEWEST, **changed}
    model = ActorModel(name, tuple(f"i{row}" for row in range(len(vectors))), np.array(vectors), **given)
    entries = [CatalogueEntry(Item(item_id=f"i{row}"), row) for row in range(size)]
    return build_catalogue(entries, models={name: LabelledModel(f"{name}@1", model)})


def profile_of(catalogue, *history, tail=True):
    """Rows and ratings in time order, folded as the worker does; -1 for an item outside the catalogue."""
    ledger = Ledger.empty(0)
    for offset, (row, rating) in enumerate(history):
        at, item = LastEvent(1, 0, offset), hash_id(f"i{row}" if row >= 0 else "gone")
        ledger = apply_event(ledger, item=item, rating=round(rating * 10_000), event=0, at=at, x=None)
    rated = Rated("u", ledger.t, None, entries(ledger), ledger.tail if tail else None)
    return build_profiles([rated], catalogue)[0]


def slate_of(catalogue, profile, *, name="ddpg", k=10, rows=None, epsilon=None, request_id="r", **settings):
    rows = np.setdiff1d(np.arange(catalogue.size), profile.rows) if rows is None else np.array(rows)
    state = profile, catalogue, StatisticsView.empty(catalogue.size)
    policy = make_policy(name, PolicySettings(**settings))
    return policy.slate(SlateRequest(k, rows, epsilon), *state, Draws(7, "u", request_id))


def test_the_nearest_items_to_what_the_actor_says_come_first():
    # The newest item is i3 at (3, 0): i2 and i4 are at 1, in catalogue order, i1 at 2, i0 is seen.
    catalogue = catalogue_of()
    slate = slate_of(catalogue, profile_of(catalogue, (0, 5.0), (3, 4.0)))
    assert slate.rows.tolist() == [2, 4, 1, 5]
    assert slate.scores.tolist() == [-1.0, -1.0, -2.0, -2.0]
    assert [part["distance"] for part in slate.parts] == [1.0, 1.0, 2.0, 2.0]
    assert (slate.slate_propensity, slate.epsilon, slate.fallback) == (1.0, 0.0, None)


@pytest.mark.parametrize("distance", DISTANCES)
def test_scores_are_negated_distances_by_the_name_in_the_setting(distance):
    vectors = np.random.default_rng(0).normal(size=(9, 2))
    catalogue = catalogue_of(vectors)
    slate = slate_of(catalogue, profile_of(catalogue, (0, 5.0), (1, 4.0)), actor_distance=distance)
    kept = aligned_of("ddpg", catalogue).vectors
    expected = distances_to(distance, kept[1], kept[2:])
    assert slate.rows.tolist() == (2 + np.argsort(expected, kind="stable")).tolist()
    assert slate.scores.tolist() == np.sort(-expected)[::-1].tolist()


def test_the_models_own_distance_holds_unless_a_setting_says_otherwise():
    catalogue = catalogue_of(distance="inner")
    profile = profile_of(catalogue, (0, 5.0), (3, 4.0))
    assert slate_of(catalogue, profile).rows.tolist() == [5, 4, 2, 1]
    assert slate_of(catalogue, profile, actor_distance="euclidean").rows.tolist() == [2, 4, 1, 5]


def test_ratings_reach_the_actor_centred_and_oldest_first():
    # This actor says (r'_1, r'_2) = (2 (1 - 2.5), 2 (5 - 2.5)) = (-3, 5)
    actor = (Layer(np.array([[0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]]), np.zeros(2)),)
    catalogue = catalogue_of([[0, 0], [9, 9], [-3, 5], [5, -3]], actor=actor)
    slate = slate_of(catalogue, profile_of(catalogue, (0, 1.0), (1, 5.0)))
    assert (slate.rows.tolist(), slate.scores[0]) == ([2, 3], 0.0)


def test_critics_rank_the_nearest_again_by_the_lowest_of_what_they_say():
    # 60 items on a line; the nearest 50 to i0 are i2..i51. Q = min(x, 1), so all but i0 are worth 1, in order.
    line = np.array([[row / 10, 0.0] for row in range(60)])
    catalogue = catalogue_of(line, critics=(FIRST, ONE), rerank=50)
    profile = profile_of(catalogue, (1, 5.0), (0, 4.0))
    slate = slate_of(catalogue, profile, k=3)
    assert slate.rows.tolist() == [10, 11, 12]
    assert slate.scores.tolist() == [1.0, 1.0, 1.0]
    assert slate.parts[0]["distance"] == pytest.approx(1.0)
    only_first = catalogue_of(line, critics=(FIRST,), rerank=50)
    assert slate_of(only_first, profile, k=3).rows.tolist() == [51, 50, 49]
    assert slate_of(only_first, profile, k=3, actor_rerank=0).rows.tolist() == [2, 3, 4]


def test_what_critics_say_alike_of_comes_in_catalogue_order_however_near():
    catalogue = catalogue_of(critics=(ONE,), rerank=50)
    assert slate_of(catalogue, profile_of(catalogue, (0, 5.0), (3, 4.0))).rows.tolist() == [1, 2, 4, 5]


def test_a_model_without_critics_ranks_by_distance_whatever_the_setting():
    catalogue = catalogue_of()
    profile = profile_of(catalogue, (0, 5.0), (3, 4.0))
    assert slate_of(catalogue, profile, actor_rerank=50).rows.tolist() == [2, 4, 1, 5]


def test_more_slots_than_are_ranked_again_are_filled_from_as_many_nearest():
    line = np.array([[row / 10, 0.0] for row in range(70)])
    catalogue = catalogue_of(line, critics=(FIRST,), rerank=50)
    slate = slate_of(catalogue, profile_of(catalogue, (1, 5.0), (0, 4.0)), k=60)
    assert slate.rows.tolist() == list(range(61, 1, -1))


def test_critics_rank_again_what_lies_within_the_margin_of_the_nearest_and_as_many_as_the_slate_needs():
    # The newest item is i0 at 0; i2 is the nearest unseen one, i7 lies 5 beyond it. The critic likes what is far.
    line = np.array([[float(row), 0.0] for row in range(70)])
    catalogue = catalogue_of(line, critics=(FIRST,), rerank=50, margin=5.0)
    profile = profile_of(catalogue, (1, 5.0), (0, 4.0))
    assert slate_of(catalogue, profile, k=3).rows.tolist() == [7, 6, 5]
    assert slate_of(catalogue, profile, k=8).rows.tolist() == [9, 8, 7, 6, 5, 4, 3, 2]
    assert slate_of(catalogue, profile, k=1, rows=[1, 2, 60]).rows.tolist() == [2]


def test_a_margin_is_of_the_models_own_distance():
    line = np.array([[float(row), 0.0] for row in range(70)])
    catalogue = catalogue_of(line, critics=(FIRST,), rerank=50, margin=5.0)
    profile = profile_of(catalogue, (1, 5.0), (0, 4.0))
    assert slate_of(catalogue, profile, k=3, actor_distance="cityblock").rows.tolist() == [51, 50, 49]


def test_the_best_item_of_learned_values_is_what_is_shown():
    # q(s) = x of the newest item, and Q(s, i) = v(s) + q(s) . x_i
    vectors = np.random.default_rng(4).normal(size=(30, 2))
    catalogue = catalogue_of(vectors, name="qlearning", distance="inner")
    slate = slate_of(catalogue, profile_of(catalogue, (0, 5.0), (1, 4.0)), name="qlearning", k=4)
    kept = aligned_of("qlearning", catalogue).vectors
    assert slate.rows.tolist() == (2 + np.argsort(-(kept[2:] @ kept[1]))[:4]).tolist()
    assert slate.scores.tolist() == pytest.approx(np.sort(kept[2:] @ kept[1])[::-1][:4].tolist())


def test_items_that_the_model_does_not_know_come_last_with_a_finite_score():
    catalogue = catalogue_of(LINE, 8)
    profile = profile_of(catalogue, (0, 5.0), (3, 4.0))
    assert slate_of(catalogue, profile).rows.tolist() == [2, 4, 1, 5, 6, 7]
    assert slate_of(catalogue, profile).scores[-1] == -FARTHEST
    # of a zero vector this critic would say 0, of the others -1 and less
    backward = (Layer(-FIRST[0].weight, np.zeros(1)),)
    critics = catalogue_of(LINE, 8, critics=(backward,), rerank=50)
    assert slate_of(critics, profile).rows.tolist() == [1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("tail", [True, False])
def test_users_with_fewer_ratings_than_a_frame_are_answered_by_the_fallback(tail):
    catalogue = catalogue_of()
    profile = profile_of(catalogue, (3, 4.0), tail=tail)
    slate = slate_of(catalogue, profile, actor_fallback="greedy")
    alone = slate_of(catalogue, profile, name="greedy")
    assert slate.fallback == "greedy"
    assert slate.rows.tolist() == alone.rows.tolist()
    assert slate.scores.tolist() == alone.scores.tolist()
    assert slate.parts == [{**part, "fallback": "greedy"} for part in alone.parts]


def test_the_fallback_explores_as_the_actor_does():
    catalogue = catalogue_of()
    profile = profile_of(catalogue, (3, 4.0))
    for name in ("epsilon_greedy", "epsilon_greedy_compat"):
        assert slate_of(catalogue, profile, actor_fallback=name).epsilon == 0.0
        assert slate_of(catalogue, profile, actor_fallback=name, actor_epsilon=0.4).epsilon == 0.4
        assert slate_of(catalogue, profile, actor_fallback=name, epsilon=0.25).epsilon == 0.25
    explored = [slate_of(catalogue, profile, k=1, actor_epsilon=0.5, request_id=f"r{i}").explored[0] for i in range(40)]
    assert 0 < sum(explored) < 40


def test_a_model_of_padded_states_answers_from_the_first_rating_on():
    # F = 2: with one rating the state is [0, x_2, 0, r'_2], and the actor says x_2; without any the fallback answers.
    catalogue = catalogue_of(least=1)
    slate = slate_of(catalogue, profile_of(catalogue, (3, 4.0)))
    assert (slate.fallback, slate.rows.tolist()) == (None, [2, 4, 1, 5, 0])
    assert slate_of(catalogue, profile_of(catalogue)).fallback == "epsilon_greedy"
    oldest = (Layer(np.array([[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]]), np.zeros(2)),)
    padded = catalogue_of(least=1, actor=oldest)
    assert slate_of(padded, profile_of(padded, (3, 4.0))).scores[0] == 0.0  # of i0 at (0, 0)


def test_what_the_only_rating_adds_makes_up_the_score():
    # Of a state of zeros the actor says (0, 0), from which i5 is 5 away; with i3, 2.
    catalogue = catalogue_of(least=1)
    profile = profile_of(catalogue, (3, 4.0))
    terms = make_policy("ddpg").terms(np.array([5]), profile, catalogue, StatisticsView.empty(6))
    assert (terms.general.tolist(), terms.personal.tolist(), terms.shares.tolist()) == ([-5.0], [-2.0], [[3.0]])


def test_a_recurrent_model_answers_and_explains():
    # One unit whose gates are open and that takes the newest item's first number: h is about tanh(tanh(x)).
    of_events = Layer(np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]), np.array([50, -50, 0, 50]))
    encoder, after = (of_events, Layer(np.zeros((4, 1)), np.zeros(4))), (Layer(np.array([[5], [0]]), np.zeros(2)),)
    catalogue = catalogue_of(encoder=encoder, actor=after)
    profile = profile_of(catalogue, (0, 5.0), (1, 4.0))
    slate = slate_of(catalogue, profile, k=1)
    assert slate.rows.tolist() == [3]
    expected = -abs(5 * np.tanh(np.tanh(1.0)) - 3)
    assert slate.scores.tolist() == [pytest.approx(expected)]
    terms = make_policy("ddpg").terms(np.array([3]), profile, catalogue, StatisticsView.empty(6))
    assert terms.general.tolist() == [-3.0]
    assert terms.shares.sum() + terms.general[0] == pytest.approx(expected)


def test_users_side_by_side_get_the_slates_they_get_alone():
    rng = np.random.default_rng(3)
    actor = (Layer(rng.normal(size=(8, 6)), rng.normal(size=8)), Layer(rng.normal(size=(2, 8)), rng.normal(size=2)))
    catalogue = catalogue_of(rng.normal(size=(40, 2)), actor=actor)
    histories = [[(int(row), 4.0) for row in rng.permutation(40)[:n]] for n in (0, 1, 2, 3, 9, 40)]
    profiles = [profile_of(catalogue, *history) for history in histories]
    policy, statistics = make_policy("ddpg"), StatisticsView.empty(40)
    asked = [Asked(SlateRequest(5, np.arange(40)), profile, Draws(7, "u", "r")) for profile in profiles]
    together = policy.slates(asked, catalogue, statistics)
    for one, slate in zip(asked, together, strict=True):
        alone = policy.slate(one.request, one.profile, catalogue, statistics, one.draws)
        assert (slate.rows.tolist(), slate.scores.tolist()) == (alone.rows.tolist(), alone.scores.tolist())
    assert [slate.fallback for slate in together] == ["epsilon_greedy"] * 2 + [None] * 4


def test_exploration_has_its_own_epsilon_and_exact_propensities():
    # Four unseen items: the best has 0.4/4 + 0.6, each other 0.4/4.
    catalogue = catalogue_of()
    profile = profile_of(catalogue, (0, 5.0), (3, 4.0))
    slates = [slate_of(catalogue, profile, k=1, actor_epsilon=0.4, request_id=f"r{i}") for i in range(200)]
    chances = {slate.rows[0]: slate.propensities[0] for slate in slates}
    assert chances == {2: pytest.approx(0.7), 4: 0.1, 1: 0.1, 5: 0.1}
    assert any(slate.explored[0] for slate in slates)
    assert slate_of(catalogue, profile, actor_epsilon=0.4, epsilon=0.25).epsilon == 0.25


def test_an_explored_item_keeps_its_own_distance():
    catalogue = catalogue_of()
    slate = slate_of(catalogue, profile_of(catalogue, (0, 5.0), (3, 4.0)), epsilon=1.0)
    assert slate.scores.tolist() == [-abs(row - 3.0) for row in slate.rows.tolist()]


def test_what_each_rating_of_the_frame_adds_makes_up_the_score():
    # Of a state of zeros the actor says (0, 0): i5 is 5 away. With i1 oldest still 5; with i3 the newest, 2.
    catalogue = catalogue_of()
    profile = profile_of(catalogue, (1, 5.0), (3, 4.0))
    terms = make_policy("ddpg").terms(np.array([5]), profile, catalogue, StatisticsView.empty(6))
    assert terms.general.tolist() == [-5.0]
    assert terms.personal.tolist() == [-2.0]
    shares = dict(zip(profile.rows.tolist(), terms.shares[0].tolist(), strict=True))
    assert shares == {1: 0.0, 3: 3.0}


class TestFrame:
    def frame(self, catalogue, *history, **said):
        frame = frame_of(profile_of(catalogue, *history, **said), catalogue, aligned_of("ddpg", catalogue))
        return None if frame is None else list(zip(frame.rows.tolist(), frame.ratings.tolist(), strict=True))

    def test_it_is_the_newest_events_oldest_first(self):
        history = (5, 1.0), (0, 2.0), (4, 3.0), (2, 0.5)
        assert self.frame(catalogue_of(), *history) == [(4, 3.0), (2, 0.5)]

    def test_an_item_rated_again_stands_there_again(self):
        assert self.frame(catalogue_of(), (5, 1.0), (2, 2.0), (2, 4.0)) == [(2, 2.0), (2, 4.0)]

    def test_items_unknown_to_catalogue_or_model_are_passed_over(self):
        catalogue = catalogue_of(LINE, 8)
        history = (5, 1.0), (1, 2.0), (-1, 4.0), (7, 5.0), (2, 3.0), (6, 5.0)
        assert self.frame(catalogue, *history) == [(1, 2.0), (2, 3.0)]

    def test_before_the_tail_each_item_stands_at_its_mean_rating(self):
        catalogue = catalogue_of(LINE, 8)
        # 32 newest events of an item without a vector leave the tail; i1 was rated 2 and 4, i0 last
        history = [(5, 1.0), (1, 2.0), (1, 4.0), (0, 5.0), *[(6, 1.0)] * 70]
        profile = profile_of(catalogue, *history)
        assert len(profile.tail) < 70
        assert self.frame(catalogue, *history) == [(1, 3.0), (0, 5.0)]

    def test_without_a_tail_the_entries_stand_for_all_events(self):
        history = (5, 1.0), (1, 2.0), (2, 3.0), (1, 4.0)
        assert self.frame(catalogue_of(), *history, tail=False) == [(2, 3.0), (1, 3.0)]

    def test_too_few_ratings_of_known_items_make_none(self):
        catalogue = catalogue_of(LINE, 8)
        assert self.frame(catalogue, (1, 2.0)) is None
        assert self.frame(catalogue, (1, 2.0), (7, 2.0), (6, 2.0)) is None
        assert self.frame(catalogue) is None


def test_the_state_is_that_of_the_frame():
    rng = np.random.default_rng(5)
    catalogue = catalogue_of(rng.normal(size=(5, 2)))
    aligned = aligned_of("ddpg", catalogue)
    frame = frame_of(profile_of(catalogue, (3, 1.0), (1, 4.5), (4, 2.0)), catalogue, aligned)
    state = make_states(aligned.vectors[frame.rows], frame.ratings, aligned.model.scale)
    assert state.tolist() == [*aligned.vectors[1], *aligned.vectors[4], 2 * (4.5 - 2.5), 2 * (2.0 - 2.5)]


@pytest.mark.parametrize("name", ["linear", "ddpg", "nobody"])
def test_a_fallback_that_needs_a_model_or_is_unknown_is_refused(name):
    with pytest.raises(ValueError, match=f"actor_fallback must be one of random, greedy, .*, got '{name}'"):
        make_policy("ddpg", PolicySettings(actor_fallback=name))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"actor_distance": "manhattan"}, "actor_distance must be one of model, euclidean, .* got 'manhattan'"),
        ({"actor_rerank": 49}, r"actor_rerank must be 0 or in 50\.\.500, got 49"),
        ({"actor_rerank": 501}, r"actor_rerank must be 0 or in 50\.\.500, got 501"),
        ({"actor_epsilon": 1.5}, r"actor_epsilon must be in \[0, 1\], got 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PolicySettings(**settings)


def test_version_follows_the_settings_of_actors_and_of_their_fallback():
    version = make_policy("td3").version
    for changed in ({"actor_distance": "cosine"}, {"actor_rerank": 50}, {"actor_epsilon": 0.5}, {"epsilon": 0.2}):
        assert make_policy("td3", PolicySettings(**changed)).version != version
