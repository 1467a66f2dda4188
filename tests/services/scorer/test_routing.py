import pytest

from recommender.policies import POLICIES, PolicySettings
from schemas.errors import ConfigurationError, RequestError
from schemas.events import RecommendationRequest
from services.scorer.routing import Routing, make_policy_settings
from streams.settings import Settings


def request(policy):
    return RecommendationRequest(request_id="r", user_id="u", policy=policy)


def test_a_request_gets_the_policy_it_names_and_the_default_when_it_names_none():
    routing = Routing("ucb", PolicySettings())
    assert routing.policy_of(request(None)).name == "ucb"
    for name in POLICIES:
        assert routing.policy_of(request(name)).name == name


def test_an_unknown_policy_is_refused_with_the_names_there_are():
    with pytest.raises(RequestError, match=r"policy must be one of random, greedy, .*, got 'td3'") as refusal:
        Routing("greedy", PolicySettings()).policy_of(request("td3"))
    assert (refusal.value.code, refusal.value.user_id) == ("unknown_policy", "u")


def test_an_unknown_default_refuses_to_start():
    with pytest.raises(ConfigurationError, match="got 'best'"):
        Routing("best", PolicySettings())


def test_the_parameters_are_those_of_the_settings():
    settings = Settings(
        novelty_s=50, ucb_c=2, epsilon=0.3, epsilon_decay="sqrt", rating_min=1, rating_max=10, namespace="n"
    )
    assert make_policy_settings(settings) == PolicySettings(s=50, c=2, epsilon=0.3, epsilon_decay="sqrt", prior=5.5)
