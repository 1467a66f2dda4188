"""What is said of two runs beside one another."""

from dataclasses import replace

import numpy as np
import pytest

from recommender.policies import PolicySettings
from schemas.errors import ConfigurationError
from services.lab.simulation import count_differences, name_policies, run_policy
from tests.recommender.simulation.worlds import compat_terms, random_people


def test_each_choice_of_another_item_or_score_is_counted_and_the_first_is_named():
    people = random_people(0, users=3, items=12, kinds=4, dim=2, most=6)
    offline = {"greedy_compat": run_policy(people, "greedy_compat", compat_terms(5), PolicySettings(), 7)}
    online = {"greedy_compat": replace(offline["greedy_compat"])}
    assert count_differences(people, online, offline) == (0, None)
    scores, rows = offline["greedy_compat"].scores.copy(), offline["greedy_compat"].rows.copy()
    scores[1, 4] = np.nextafter(scores[1, 4], np.inf)
    rows[2, 0] += 1
    online = {"greedy_compat": replace(offline["greedy_compat"], scores=scores, rows=rows)}
    count, first = count_differences(people, online, offline)
    assert count == 2
    assert first.startswith("greedy_compat, user 'u1', step 4: ")


def test_default_mode_takes_names_as_they_are():
    assert name_policies(["greedy", "greedy_compat"], "default") == ["greedy", "greedy_compat"]
    with pytest.raises(ConfigurationError, match="got 'greedy_kompat'"):
        name_policies(["greedy_kompat"], "compat")


def test_a_policy_with_a_model_of_its_own_is_not_simulated():
    with pytest.raises(ConfigurationError, match=r"policy must be one of random, .*, got 'linear'"):
        name_policies(["linear"], "default")
