"""The experiment as real events, beside the same experiment off line."""

import numpy as np
import pandas as pd
import pytest

from recommender.policies import PolicySettings
from services.admin.bus import open_admin
from services.cli.simulate_bus import run_through_bus
from services.lab.simulation import count_differences, run_policy
from services.lab.synthetic import Sizes, generate
from services.runtime.supervise import Supervisor
from streams.store.clients import make_client
from tests.integration.commands import Shells
from tests.integration.system import environment_of
from tests.recommender.simulation.worlds import compat_terms, random_people

pytestmark = pytest.mark.integration

POLICIES = ["random_compat", "greedy_compat", "epsilon_greedy_compat", "ucb_compat"]
USERS, STEPS, SEED = 40, 50, 11
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
    with make_client(settings) as client, open_admin(settings) as admin:
        assert not list(client.scan_iter(match="{simulate-*"))
        assert not [topic for topic in admin.list_topics() if topic.startswith("simulate-")]


def test_the_command_compares_the_two_runs_and_writes_that_of_the_bus(own_settings, tmp_path):
    ratings = generate(3, Sizes(users=8, items=30, ratings=100))[1]
    ratings.to_csv(tmp_path / "r.csv", index=False)
    vectors = pd.DataFrame(np.random.default_rng(3).normal(size=(30, 2)), columns=["x0", "x1"])
    vectors.insert(0, "item_id", [f"i{item + 1}" for item in range(30)])
    vectors.to_parquet(tmp_path / "v.parquet")
    tokens = ("simulate", "--ratings", "r.csv", "--embeddings", "v.parquet", "--policy", "greedy", "epsilon_greedy")
    with Supervisor(tmp_path / "logs") as supervisor:
        shells = Shells(tmp_path, supervisor, environment_of(own_settings()))
        said = shells.say(*tokens, "--steps", "4", "--through-bus", "--out", "bus")
        shells.say(*tokens, "--steps", "4", "--out", "off")
    assert "all 64 choices through the bus are those of the run off line" in said
    written = [pd.read_parquet(tmp_path / out / "choices.parquet") for out in ("bus", "off")]
    pd.testing.assert_frame_equal(*written)
