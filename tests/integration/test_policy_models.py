"""Policies with a model under load: releases and routing change, and no request stays unanswered."""

import pytest

from recommender.factors.training import FactorSettings
from recommender.sequence.training import SequenceSettings
from services.admin.releases import publish_release
from services.lab.datasets import rating_events
from services.lab.next_item import gather_log
from services.lab.synthetic import Sizes
from services.trainer.factors import train_linear
from services.trainer.sequence import train_on
from streams.models.releases import save_release
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
    """A system that deals users to three policies; no model is released yet."""
    system = make_system(policy="linear=0.3,sequence=0.4,epsilon_greedy=0.3")
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
    """Two releases of each model, by name and seed."""
    events = list(rating_events(log.stretches[0]))
    ordered, items = gather_log(events, log.items)
    made = {}
    for seed in (1, 2):
        directory, version = routed.settings.model_dir, str(seed)
        factors = FactorSettings(dim=8, parts=2, rounds=2, seed=seed)
        made["linear", seed] = train_linear(log.items, events, factors, model_dir=directory, version=version).release
        short = SequenceSettings(dim=8, epochs=1, seed=seed, threads=1)
        model = train_on(ordered, items, short).model
        made["sequence", seed] = save_release(model, directory, "sequence", version, kind="policy")
    return made


def release(system, released):
    """Publish a release and wait until the scorer says that it is live."""
    publish_release(system.settings, released)

    def is_live():
        events = system.children["scorer"].events()
        said = [event["release"] for event in events if event.get("event") == "release.live" and event["release"]]
        return [label for label in said if label.startswith(f"{released.name}@")][-1:] == [released.label]

    wait_until(is_live, 20, f"{released.label} is live")


def test_until_a_model_is_released_its_users_hear_so_and_others_are_served(routed, client):
    for name in ("linear", "sequence"):
        assert client.ask("u1", policy=name)["error"]["code"] == "model_unavailable"
    assert client.ask("u1", policy="epsilon_greedy")["error"] is None


def test_releases_swap_under_load_with_every_request_answered(routed, client, releases):
    for name in ("linear", "sequence"):
        release(routed, releases[name, 1])
    with asking(routed.settings, REQUESTS_PER_S, iter(USERS * 1000).__next__) as stream:
        for name, seed in (("linear", 2), ("sequence", 2), ("linear", 1), ("sequence", 1), ("linear", 2)):
            release(routed, releases[name, seed])
            assert client.ask("u1", policy=name)["model"] == f"{name}@{seed}"
        tally = stream.finish(ANSWER_S)
    assert tally.sent > 0
    assert (tally.answered, tally.errors) == (tally.sent, {})
    dealt = {client.ask(user_id)["policy"] for user_id in USERS}
    assert dealt == {"linear", "sequence", "epsilon_greedy"}


def test_routing_changes_under_load_with_every_request_answered(routed, client, releases):
    for name in ("linear", "sequence"):
        release(routed, releases[name, 1])
    dealt = ("epsilon_greedy", "linear", "sequence")
    only = {name: routed.settings.model_copy(update={"policy": name}) for name in dealt}
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
