import pytest

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.draws import Draws
from recommender.policies import POLICIES, POLICY_MODELS
from schemas.codec import decode_answer, encode
from schemas.errors import LedgerError, RequestError
from schemas.events import ERROR_CODES, Filters, GenreFilter, Item, StateView
from services.scorer.answer import read_profiles, view_state
from tests.services.scorer.sights import (
    TOPIC,
    ask,
    make_answerer,
    make_catalogue,
    make_ledger,
    make_sight,
    make_statistics,
)


def ids(answer):
    return [item.item_id for item in answer.items]


def test_an_unknown_user_gets_the_items_by_their_shrunk_means():
    catalogue = make_catalogue()
    # m = 26/8 = 3.25; a (10 + 16.25)/7 = 3.75, b (4 + 16.25)/7 = 2.893, c (12 + 16.25)/9 = 3.139, d 3.25
    statistics = make_statistics(catalogue, a=(2, 10.0), b=(2, 4.0), c=(4, 12.0))
    answer = make_answerer().answer(ask(), make_sight({"u": None}, catalogue, statistics))
    assert ids(answer) == ["a", "d", "c", "b"]
    assert [item.score for item in answer.items] == pytest.approx([26.25 / 7, 3.25, 28.25 / 9, 20.25 / 7])
    assert answer.error is None
    assert answer.state.t == 0


def test_every_field_of_the_contract_is_there_and_true():
    answer = make_answerer("epsilon_greedy").answer(ask(k=2), make_sight({"u": make_ledger(("a", 4), ("b", 3))}))
    assert (answer.request_id, answer.user_id, answer.v) == ("r", "u", 1)
    assert (answer.policy, answer.model, answer.epsilon, answer.seed) == ("epsilon_greedy", "items@1", 0.1, 7)
    assert answer.policy_version.startswith("epsilon_greedy-")
    assert (answer.n_candidates, len(answer.items), answer.propensity_kind) == (2, 2, "exact")
    assert answer.slate_propensity == pytest.approx(answer.items[0].propensity * answer.items[1].propensity)
    assert set(answer.items[0].parts) == {"relevance", "novelty", "bonus"}
    assert answer.state == StateView(
        t=2, partition=3, offset=1, applied_to={"0": 91, "3": 5}, statistics_to={"0": 88}, watermark_age_ms=9.0
    )
    assert decode_answer(encode(answer)) == answer


def test_the_model_is_null_without_embeddings():
    bare = build_catalogue([CatalogueEntry(Item(item_id="a"), 0)])
    answer = make_answerer().answer(ask(), make_sight({"u": make_ledger(("a", 4))}, bare))
    assert (answer.model, answer.error) == (None, None)


def test_a_policy_with_a_model_names_its_release_and_others_the_item_vectors():
    sight = make_sight({"u": make_ledger(("a", 4))})
    for name in POLICIES:
        label = f"{name}@1" if name in POLICY_MODELS else "items@1"
        assert make_answerer().answer(ask(policy=name), sight).model == label


def test_a_policy_whose_model_is_not_live_is_answered_as_unavailable():
    bare = build_catalogue([CatalogueEntry(Item(item_id="a"), 0)])
    for name in POLICY_MODELS:
        with pytest.raises(RequestError, match=f"no release named '{name}' is live") as refusal:
            make_answerer().answer(ask(policy=name), make_sight({"u": None}, bare))
        assert refusal.value.code == "model_unavailable"


def test_a_user_with_too_few_ratings_for_an_actor_is_answered_by_the_fallback_which_each_item_names():
    sight = make_sight({"u": make_ledger(("a", 4)), "v": make_ledger(("a", 4), ("b", 2))})
    answerer = make_answerer(actor_fallback="greedy")
    early, later = (answerer.answer(ask(user, policy="ddpg"), sight) for user in ("u", "v"))
    greedy = answerer.answer(ask("u", policy="greedy"), sight)
    assert (early.policy, early.model, early.error) == ("ddpg", "ddpg@1", None)
    assert [item.parts["fallback"] for item in early.items] == ["greedy"] * 3
    assert [(item.item_id, item.score) for item in early.items] == [(i.item_id, i.score) for i in greedy.items]
    assert all("fallback" not in item.parts and "distance" in item.parts for item in later.items)


def test_an_empty_catalogue_gives_an_answer_without_items():
    for name in POLICIES:
        answer = make_answerer().answer(ask(policy=name), make_sight({"u": None}, make_catalogue(())))
        assert (answer.items, answer.n_candidates, answer.error) == ([], 0, None)


def test_candidates_are_taken_in_their_order_without_unknown_and_withdrawn_ones():
    sight = make_sight({"u": None}, make_catalogue(withdrawn=("b",)))
    answer = make_answerer().answer(ask(candidates=("d", "nobody", "c", "b", "d")), sight)
    assert ids(answer) == ["d", "c"]
    assert answer.n_candidates == 2


def test_seen_and_excluded_items_are_left_out_unless_asked_for():
    sight = make_sight({"u": make_ledger(("a", 4))})
    answerer = make_answerer()
    assert set(ids(answerer.answer(ask(), sight))) == {"b", "c", "d"}
    assert set(ids(answerer.answer(ask(exclude=("b", "nobody")), sight))) == {"c", "d"}
    assert set(ids(answerer.answer(ask(exclude_seen=False), sight))) == {"a", "b", "c", "d"}


def test_filters_narrow_the_candidates():
    filters = Filters(genres=GenreFilter(any=("Comedy",)))
    answer = make_answerer().answer(ask(filters=filters), make_sight({"u": None}))
    assert set(ids(answer)) == {"c", "d"}


def test_k_is_the_most_items_given():
    sight = make_sight({"u": None})
    assert len(make_answerer().answer(ask(k=3), sight).items) == 3
    assert len(make_answerer().answer(ask(k=500), sight).items) == 4


def test_the_request_decides_epsilon():
    answer = make_answerer().answer(ask(policy="epsilon_greedy", epsilon=1.0, k=4), make_sight({"u": None}))
    assert answer.epsilon == 1.0
    assert [item.explored for item in answer.items] == [True] * 4
    assert [item.propensity for item in answer.items] == pytest.approx([1 / 4, 1 / 3, 1 / 2, 1])


def test_the_same_request_on_the_same_sight_gives_the_same_bytes():
    sight = make_sight({"u": make_ledger(("a", 4), ("c", 2))})
    for name in POLICIES:
        request = ask(policy=name, epsilon=0.5)
        assert encode(make_answerer().answer(request, sight)) == encode(make_answerer().answer(request, sight))


def test_another_seed_user_or_request_draws_otherwise():
    draws = {
        tuple(ids(make_answerer("random", seed=seed).answer(ask(user, request_id=name), make_sight({user: None}))))
        for seed in (1, 2)
        for user in ("u", "v")
        for name in ("r", "s")
    }
    assert len(draws) > 3


def test_an_unreadable_ledger_is_named():
    sight = make_sight({"u": None}, unreadable={"v": "ledger version must be 1.1, got 9.9"})
    with pytest.raises(LedgerError, match=r"got 9\.9"):
        make_answerer().answer(ask("v"), sight)


def test_an_unknown_policy_is_refused():
    with pytest.raises(RequestError, match="policy must be one of"):
        make_answerer().answer(ask(policy="nobody"), make_sight({"u": None}))


def test_a_refusal_has_a_code_no_items_and_the_state_if_it_was_looked_at():
    answerer = make_answerer()
    bare = answerer.refuse("r", "u", "deadline_exceeded", "too late \ud800")
    assert (bare.error.code, bare.error.message, bare.items) == ("deadline_exceeded", "too late ?", [])
    assert bare.error.code in ERROR_CODES
    assert decode_answer(encode(bare)) == bare
    seen = answerer.refuse("r", "u", "state_not_reached", "no", make_sight({"u": make_ledger(("a", 4))}))
    assert (seen.state.t, seen.state.applied_to) == (1, {"0": 91, "3": 5})


class TestProfile:
    def test_the_newest_events_are_those_of_the_ledgers_tail(self):
        tail = read_profiles({"u": make_ledger(("a", 4), ("c", 5), ("a", 1))}, make_catalogue())["u"].tail
        assert tail["rating"].tolist() == [40_000, 50_000, 10_000]

    def test_the_ledgers_mean_serves_as_it_is_when_made_with_the_live_embedding(self):
        ledger = make_ledger(("a", 4), ("c", 5))
        assert read_profiles({"u": ledger}, make_catalogue())["u"].theta.tobytes() == ledger.mean.tobytes()

    def test_the_mean_is_recomputed_when_made_with_another_embedding(self):
        ledger = make_ledger(("a", 4), ("c", 5), embedding_id=b"another.")
        theta = read_profiles({"u": ledger}, make_catalogue())["u"].theta
        assert theta == pytest.approx([(4 * 1.0 + 5 * 0.6) / 2, 5 * 0.8 / 2])

    def test_the_mean_is_recomputed_once_an_item_without_a_vector_has_one(self):
        ledger = make_ledger(("e", 4))
        assert ledger.unembedded == 1
        profile = read_profiles({"u": ledger}, make_catalogue())["u"]
        assert profile.theta.tolist() == [0.0, 0.0]
        assert profile.t == 1

    def test_an_unknown_user_has_the_zero_profile(self):
        profile = read_profiles({"u": None}, make_catalogue())["u"]
        assert (profile.t, profile.theta.tolist(), len(profile.rows)) == (0, [0.0, 0.0], 0)


class TestState:
    def test_the_last_event_of_a_log_that_was_replaced_is_not_given(self):
        sight = make_sight({"u": make_ledger(("a", 4), topic=TOPIC + 1)})
        state = view_state("u", sight)
        assert (state.t, state.partition, state.offset) == (1, None, None)


def test_items_with_the_same_vector_and_statistics_score_alike_at_any_place():
    names = tuple("abcd")
    answers = {}
    for shift in range(4):
        catalogue = make_catalogue(names[shift:] + names[:shift])
        sight = make_sight({"u": make_ledger(("a", 4), ("b", 1))}, catalogue)
        for item in make_answerer().answer(ask(exclude_seen=False), sight).items:
            answers.setdefault(item.item_id, set()).add(item.score)
    assert {name: len(scores) for name, scores in answers.items()} == dict.fromkeys(names, 1)


def test_draws_are_keyed_by_seed_user_and_request():
    sight = make_sight({"u": None})
    answer = make_answerer().answer(ask(policy="random", k=1), sight)
    assert ids(answer) == [sight.catalogue.item_ids[Draws(7, "u", "r").integer(0, 4)]]
