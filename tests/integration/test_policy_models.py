"""Policies with a model under load: releases and routing change, and no request stays unanswered."""

import pytest

from recommender.factors.training import FactorSettings
from services.admin.releases import publish_release
from services.lab.datasets import rating_events
from services.lab.synthetic import Sizes
from services.trainer.factors import train_linear
from tests.integration.any_client import Client
from tests.integration.replaying import Log, asking
from tests.integration.system import end
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SIZES = Sizes(users=40, items=50, ratings=800)
USERS = [f"u{number + 1}" for number in range(SIZES.users)]
REQUESTS_PER_S = 100.0
ANSWER_S = 30.0


@pytest.fixture(scope="module")
def log(broker):
    return Log(1, SIZES)


@pytest.fixture(scope="module")
def routed(make_system, log):
    """A system that deals users to both policies; no model is released yet."""
    system = make_system(policy="linear=0.5,epsilon_greedy=0.5")
    system.publish(log.items)
    system.start("worker", "scorer")
    with log.publishing(system.settings, 0, None):
        pass
    system.wait_until_applied(log.records)
    return system


@pytest.fixture(scope="module")
def client(routed, broker):
    client = Client(broker.url, routed.settings.topic_prefix)
    yield client
    client.close()


@pytest.fixture(scope="module")
def releases(routed, log):
    events = list(rating_events(log.stretches[0]))
    made = {}
    for seed in (1, 2):
        settings = FactorSettings(dim=8, parts=2, rounds=2, seed=seed)
        directory, version = routed.settings.model_dir, str(seed)
        made[seed] = train_linear(log.items, events, settings, model_dir=directory, version=version).release
    return made


def release(system, released):
    """Publish a release and wait until the scorer says that it is live."""
    publish_release(system.settings, released)

    def is_live():
        said = [event for event in system.children["scorer"].events() if event.get("event") == "release.live"]
        return said and said[-1]["release"] == released.label

    wait_until(is_live, 20, f"{released.label} is live")


def test_until_a_model_is_released_its_users_hear_so_and_others_are_served(routed, client):
    assert client.ask("u1", policy="linear")["error"]["code"] == "model_unavailable"
    assert client.ask("u1", policy="epsilon_greedy")["error"] is None


def test_releases_swap_under_load_with_every_request_answered(routed, client, releases):
    release(routed, releases[1])
    with asking(routed.settings, REQUESTS_PER_S, iter(USERS * 1000).__next__) as stream:
        for seed in (2, 1, 2):
            release(routed, releases[seed])
            named = wait_until(lambda: client.ask("u1", policy="linear"), 10)
            assert named["model"] == f"linear@{seed}"
        tally = stream.finish(ANSWER_S)
    assert tally.sent > 0
    assert (tally.answered, tally.errors) == (tally.sent, {})
    dealt = {client.ask(user_id)["policy"] for user_id in USERS}
    assert dealt == {"linear", "epsilon_greedy"}


def test_routing_changes_under_load_with_every_request_answered(routed, client, releases):
    release(routed, releases[1])
    only = {name: routed.settings.model_copy(update={"policy": name}) for name in ("epsilon_greedy", "linear")}
    with asking(routed.settings, REQUESTS_PER_S, iter(USERS * 1000).__next__) as stream:
        before = "scorer"
        for name, settings in only.items():
            after = routed.launch("scorer", name=f"scorer of {name}", settings=settings)
            after.wait_for_event("scorer.ready")
            assert end(routed.children[before]) == 0
            before = f"scorer of {name}"
            answers = [client.ask(user_id) for user_id in USERS[:5]]
            assert {(answer["policy"], answer["error"]) for answer in answers} == {(name, None)}
        tally = stream.finish(ANSWER_S)
    assert (tally.answered, tally.errors) == (tally.sent, {})
