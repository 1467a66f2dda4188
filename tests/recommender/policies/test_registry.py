import pytest

from recommender.policies import POLICIES, PolicySettings, make_policy


def test_registry_has_the_four_policies_and_their_compat_forms():
    names = ["random", "greedy", "epsilon_greedy", "ucb"]
    assert list(POLICIES) == names + [f"{name}_compat" for name in names]


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"policy must be one of random, greedy, .* got 'best'"):
        make_policy("best")


def test_version_follows_epsilon_where_there_is_a_coin():
    changed = PolicySettings(epsilon=0.2)
    assert make_policy("epsilon_greedy", changed).version != make_policy("epsilon_greedy").version
    assert make_policy("greedy", changed).version == make_policy("greedy").version
    assert make_policy("epsilon_greedy_compat", changed).version == make_policy("epsilon_greedy_compat").version
