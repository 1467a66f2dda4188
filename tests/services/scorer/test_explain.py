import pytest

from recommender.draws import Draws
from recommender.policies import POLICIES, POLICY_MODELS
from schemas.codec import decode_answer, encode
from tests.services.scorer.sights import ask, make_answerer, make_catalogue, make_ledger, make_sight, make_statistics

RATED = (("a", 5.0), ("b", 1.0), ("a", 4.0))


@pytest.fixture
def sight():
    catalogue = make_catalogue()
    statistics = make_statistics(catalogue, a=(4, 16.0), b=(2, 5.0), c=(3, 9.0))
    return make_sight({"u": make_ledger(*RATED), "v": None}, catalogue, statistics)


def explain(sight, parameters=None, **said):
    answer = make_answerer(**(parameters or {})).answer(ask(explain=True, exclude_seen=False, **said), sight)
    return answer, answer.explanation


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("user_id", ["u", "v"])
def test_the_parts_of_every_policy_sum_to_the_score_bit_for_bit(sight, policy, user_id):
    answer, explanation = explain(sight, policy=policy, user_id=user_id, k=4)
    assert [item["item_id"] for item in explanation["items"]] == [item.item_id for item in answer.items]
    for item, said in zip(answer.items, explanation["items"], strict=True):
        assert said["prior"] + said["personal"] == said["relevance"]
        if not said.get("untried"):
            assert said["relevance"] * said["novelty"] + said["bonus"] == said["score"] == item.score
        elif "lift" in said:
            assert said["relevance"] * said["novelty"] + said["lift"] == said["score"] == item.score
    assert decode_answer(encode(answer)).explanation is not None


@pytest.mark.parametrize("policy", ["greedy", "greedy_compat"])
def test_the_users_ratings_have_the_shares_that_make_up_the_personal_part(sight, policy):
    _, explanation = explain(sight, policy=policy, k=4)
    for item in explanation["items"]:
        assert sum(rating["share"] for rating in item["ratings"]) == pytest.approx(item["personal"], abs=1e-12)


@pytest.mark.parametrize("policy", POLICY_MODELS)
def test_what_people_in_general_have_and_the_shares_make_up_the_personal_part(sight, policy):
    _, explanation = explain(sight, policy=policy, k=4)
    for item in explanation["items"]:
        shares = sum(rating["share"] for rating in item["ratings"])
        assert item["general"] + shares == pytest.approx(item["personal"], abs=1e-9)


@pytest.mark.parametrize("fallback", ["epsilon_greedy", "ucb", "greedy_compat"])
def test_what_the_fallback_of_an_actor_answers_is_explained_by_its_rule(fallback):
    catalogue = make_catalogue()
    sight = make_sight({"u": make_ledger(("a", 4.0))}, catalogue, make_statistics(catalogue, a=(4, 16.0), c=(3, 9.0)))
    answer, explanation = explain(sight, {"actor_fallback": fallback}, policy="ddpg", k=4)
    _, own = explain(sight, policy=fallback, k=4, epsilon=0.0)
    assert answer.items[0].parts["fallback"] == fallback
    items = [{name: value for name, value in item.items() if name != "fallback"} for item in explanation["items"]]
    assert items == own["items"]


def test_the_rating_that_weighs_most_comes_first_with_its_mean_and_count(sight):
    _, explanation = explain(sight, policy="greedy_compat", k=4)
    of_a = next(item for item in explanation["items"] if item["item_id"] == "a")
    # theta = ((5 + 4) a + 1 b)/3 and a . b = 0: the two ratings of a give 9/3
    assert of_a["ratings"] == [{"item_id": "a", "rating": 4.5, "count": 2, "share": 3.0}]
    assert of_a["personal"] == pytest.approx(3.0)


def test_the_draws_can_be_repeated_from_the_seed(sight):
    _, explanation = explain(sight, policy="epsilon_greedy", epsilon=0.5, k=3)
    draws = Draws(7, "u", "r")
    assert explanation["draws"] == {"seed": 7, "epsilon": 0.5, "coins": [draws.uniform(slot) for slot in range(3)]}


def test_no_explanation_is_made_unless_asked_for(sight):
    assert make_answerer().answer(ask(), sight).explanation is None
