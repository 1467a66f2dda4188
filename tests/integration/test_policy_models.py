"""Policies with a model under load: releases and routing change, and no request stays unanswered."""

from collections import defaultdict
from itertools import groupby, pairwise

import msgspec
import numpy as np
import pytest

from recommender.embeddings.layers import Layer
from recommender.factors.training import FactorSettings
from recommender.rl.model import ActorModel
from recommender.rl.state import state_size
from recommender.sequence.training import SequenceSettings
from schemas.codec import decode_answer
from services.admin.log import open_log
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
FRAME_SIZE, DIM = 10, 128
REQUESTS_PER_S = 200.0
ANSWER_S = 30.0
MODELS = ("linear", "sequence", "ddpg", "td3")
DEALT = (*MODELS, "epsilon_greedy")
SWAPS = ("ddpg", "td3", "linear", "sequence", "td3", "linear", "ddpg", "sequence", "linear", "ddpg", "td3")
"""Whose releases follow those of seed 1."""


@pytest.fixture(scope="module")
def log(broker):
    return Log(1, SIZES)


@pytest.fixture(scope="module")
def routed(make_system, log):
    """A system that deals users to five policies; no model is released yet."""
    system = make_system(policy=",".join(f"{name}={1 / len(DEALT)}" for name in DEALT))
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
        for name in ("ddpg", "td3"):
            model = random_actor(name, log.item_ids, seed)
            made[name, seed] = save_release(model, directory, name, version, kind="policy")
    return made


def random_actor(name, item_ids, seed):
    """Return a model of the size that training gives, so that loading it takes as long."""
    rng = np.random.default_rng(seed)

    def layers(*sizes):
        return tuple(Layer(rng.normal(size=(o, i)) / i**0.5, rng.normal(size=o)) for i, o in pairwise(sizes))

    size = state_size(FRAME_SIZE, DIM)
    return ActorModel(
        type=name,
        item_ids=tuple(item_ids),
        vectors=rng.normal(size=(len(item_ids), DIM)),
        frame_size=FRAME_SIZE,
        scale=(0.5, 5.0),
        actor=layers(size, 256, 256, DIM),
        critics=tuple(layers(size + DIM, 256, 256, 1) for _ in range(2 if name == "td3" else 1)),
        distance="inner",
        rerank=50,
    )


def release(system, released):
    """Publish a release and wait until the scorer says that it is live."""
    publish_release(system.settings, released)

    def is_live():
        events = system.children["scorer"].events()
        said = [event["release"] for event in events if event.get("event") == "release.live" and event["release"]]
        return [label for label in said if label.startswith(f"{released.name}@")][-1:] == [released.label]

    wait_until(is_live, 20, f"{released.label} is live")


def models_by_policy(system, starts):
    """Return what models answered for each policy in each partition since ``starts``, in order, repeats once."""
    found = defaultdict(list)
    with open_log(system.settings, system.settings.topic("recommendations")) as answers:
        for record in answers.read(starts):
            answer = decode_answer(record.value)
            found[answer.policy, record.partition].append(answer.model)
    return {place: [label for label, _ in groupby(labels)] for place, labels in found.items()}


def is_part_in_order(some, whole):
    """Return whether ``some`` is ``whole`` with some left out."""
    rest = iter(whole)
    return all(each in rest for each in some)


def test_until_a_model_is_released_its_users_hear_so_and_others_are_served(routed, client):
    for name in MODELS:
        assert client.ask("u1", policy=name)["error"]["code"] == "model_unavailable"
    assert client.ask("u1", policy="epsilon_greedy")["error"] is None


def test_releases_swap_under_load_with_every_request_answered(routed, log, client, releases):
    rated_most = log.stretches[0]["user_id"].mode()[0]
    for name in MODELS:
        release(routed, releases[name, 1])
    swaps = [
        msgspec.structs.replace(releases[name, 2 - place % 2], version=f"swap-{place}")
        for place, name in enumerate(SWAPS)
    ]
    with open_log(routed.settings, routed.settings.topic("recommendations")) as answers:
        starts = answers.ends
    with asking(routed.settings, REQUESTS_PER_S, iter(USERS * 1000).__next__) as stream:
        for released in swaps:
            release(routed, released)
            answer = client.ask(rated_most, policy=released.name)
            assert (answer["policy"], answer["model"]) == (released.name, released.label)
            assert all("fallback" not in item["parts"] for item in answer["items"])
        tally = stream.finish(ANSWER_S)
    assert tally.sent > 0
    assert (tally.answered, tally.errors) == (tally.sent, {})
    for (policy, _), labels in models_by_policy(routed, starts).items():
        live = [f"{policy}@1", *(released.label for released in swaps if released.name == policy)]
        assert is_part_in_order(labels, live if policy in MODELS else [None])
    assert {client.ask(user_id)["policy"] for user_id in USERS} == set(DEALT)


def test_routing_changes_under_load_with_every_request_answered(routed, client, releases):
    dealt = ("ddpg", "linear", "td3")
    for name in dealt:
        release(routed, releases[name, 1])
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
