"""The experiment as real events, beside the same experiment off line."""

import pytest

from recommender.policies import PolicySettings
from services.cli.simulate_bus import run_through_bus
from services.lab.simulation import count_differences, run_policy
from streams.store.clients import make_client
from tests.recommender.simulation.worlds import compat_terms, random_people

pytestmark = pytest.mark.integration

POLICIES = ["random_compat", "greedy_compat", "epsilon_greedy_compat", "ucb_compat"]
USERS, STEPS, SEED = 100, 50, 11
PARAMETERS = PolicySettings(s=150.0, compat_epsilon=0.25)


@pytest.mark.timeout(600)
def test_every_choice_through_the_bus_is_that_of_the_run_off_line(own_settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people = random_people(1, users=USERS, items=300, kinds=40, dim=16, most=60)
    settings, steps = own_settings(), []
    online = run_through_bus(
        people, POLICIES, compat_terms(STEPS), PARAMETERS, SEED, settings, on_step=lambda: steps.append(1)
    )
    offline = {name: run_policy(people, name, compat_terms(STEPS), PARAMETERS, SEED) for name in POLICIES}
    assert count_differences(people, online, offline) == (0, None)
    assert len(steps) == USERS * STEPS * len(POLICIES)
    for name in POLICIES:
        for each in ("explored", "ratings", "regrets", "sq_errors"):
            assert getattr(online[name], each).tolist() == getattr(offline[name], each).tolist()
        assert online[name].seconds.min() > 0
    with make_client(settings) as client:
        assert not list(client.scan_iter(match="{simulate-*"))
