import pytest

from recommender.policies import POLICIES, POLICY_MODELS, PolicySettings, make_policy


def test_registry_has_the_four_policies_their_compat_forms_and_those_with_a_model():
    names = ["random", "greedy", "epsilon_greedy", "ucb"]
    assert list(POLICIES) == [*names, *(f"{name}_compat" for name in names), *POLICY_MODELS]


def test_a_policy_with_a_model_is_named_as_its_release():
    for name in POLICIES:
        assert make_policy(name).model == (name if name in POLICY_MODELS else None)


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"policy must be one of random, greedy, .* got 'best'"):
        make_policy("best")


def test_version_follows_epsilon_where_there_is_a_coin():
    changed = PolicySettings(epsilon=0.2)
    assert make_policy("epsilon_greedy", changed).version != make_policy("epsilon_greedy").version
    assert make_policy("greedy", changed).version == make_policy("greedy").version
    assert make_policy("epsilon_greedy_compat", changed).version == make_policy("epsilon_greedy_compat").version
