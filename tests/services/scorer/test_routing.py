import math
from collections import Counter

import pytest

from recommender.policies import POLICIES, PolicySettings
from schemas.errors import ConfigurationError, RequestError
from schemas.events import RecommendationRequest
from services.scorer.routing import Routing, make_policy_settings
from streams.settings import Settings


def request(policy, user_id="u", request_id="r"):
    return RecommendationRequest(request_id=request_id, user_id=user_id, policy=policy)


def test_a_request_gets_the_policy_it_names_and_the_default_when_it_names_none():
    routing = Routing({"ucb": 1.0}, PolicySettings(), 7)
    assert routing.policy_of(request(None)).name == "ucb"
    for name in POLICIES:
        assert routing.policy_of(request(name)).name == name


def test_an_unknown_policy_is_refused_with_the_names_there_are():
    with pytest.raises(RequestError, match=r"policy must be one of random, greedy, .*, got 'nobody'") as refusal:
        Routing({"greedy": 1.0}, PolicySettings(), 7).policy_of(request("nobody"))
    assert (refusal.value.code, refusal.value.user_id) == ("unknown_policy", "u")


def test_an_unknown_default_refuses_to_start():
    with pytest.raises(ConfigurationError, match="got 'best'"):
        Routing({"greedy": 0.5, "best": 0.5}, PolicySettings(), 7)


def test_the_parameters_are_those_of_the_settings():
    settings = Settings(
        novelty_s=50, ucb_c=2, epsilon=0.3, epsilon_decay="sqrt", rating_min=1, rating_max=10, namespace="n"
    )
    assert make_policy_settings(settings) == PolicySettings(s=50, c=2, epsilon=0.3, epsilon_decay="sqrt", prior=5.5)


def routed(shares, users, seed=7):
    routing = Routing(shares, PolicySettings(), seed)
    return [routing.policy_of(request(None, user_id=f"u{number}")).name for number in range(users)]


def test_requests_that_name_none_are_dealt_by_the_shares():
    dealt = Counter(routed({"epsilon_greedy": 0.9, "ucb": 0.1}, 20_000))
    # Five standard deviations of a binomial around 2,000.
    assert abs(dealt["ucb"] - 2_000) < 5 * math.sqrt(20_000 * 0.9 * 0.1)
    assert dealt.total() == dealt["ucb"] + dealt["epsilon_greedy"]


def test_a_user_gets_the_same_policy_with_every_request_whatever_else_is_asked():
    routing = Routing({"greedy": 0.5, "ucb": 0.5}, PolicySettings(), 7)
    for user_id in ("a", "b", "c", "d"):
        assert len({routing.policy_of(request(None, user_id, str(number))).name for number in range(20)}) == 1
        assert routing.policy_of(request("random", user_id)).name == "random"


def test_a_share_that_grows_takes_users_and_gives_none_away():
    before = routed({"ucb": 0.1, "greedy": 0.9}, 5_000)
    after = routed({"ucb": 0.2, "greedy": 0.8}, 5_000)
    assert all(now == "ucb" for was, now in zip(before, after, strict=True) if was == "ucb")
    assert before != after


def test_another_seed_deals_the_users_anew():
    assert routed({"ucb": 0.5, "greedy": 0.5}, 200) != routed({"ucb": 0.5, "greedy": 0.5}, 200, seed=8)
