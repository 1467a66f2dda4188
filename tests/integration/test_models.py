from pathlib import Path

import numpy as np
import pytest

from recommender.embeddings.training import PcaSettings
from recommender.hashing import hash_ids
from recommender.ledger import entries
from schemas.codec import RATING_QUANTUM
from services.admin.releases import publish_release
from services.lab.synthetic import Sizes
from services.trainer.embeddings import train_embeddings
from streams.models.releases import embedding_id, load_release
from tests.integration.replaying import Log, asking
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SIZES = Sizes(users=40, items=50, ratings=800)
USERS = [f"u{number + 1}" for number in range(SIZES.users)]
DIMS = {"four": 4, "six": 6, "broken": 5}
REQUESTS_PER_S = 100.0
ANSWER_S = 30.0


@pytest.fixture(scope="module")
def log(broker):
    return Log(3, SIZES)


@pytest.fixture(scope="module")
def releases(system, log):
    """A release of each size, none of them published; one file is not the one that was released."""
    directory = system.settings.model_dir
    made = {
        version: train_embeddings(log.items, "pca", PcaSettings(dim=dim), directory, version=version).release
        for version, dim in DIMS.items()
    }
    file = Path(made["broken"].uri.removeprefix("file://"))
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    return made


@pytest.fixture(scope="module")
def served(system, client, log, releases):
    """The system after a first stretch of the log, with the first release live everywhere."""
    system.publish(log.items)
    publish(system, releases["four"])
    with log.publishing(system.settings, 0, None):
        pass
    system.wait_until_applied(log.records)
    wait_until(lambda: client.ask("u1")["model"] == "items@four", message="the first release is live")
    wait_until(lambda: client.ask("u1")["n_candidates"] > 0, message="the catalogue is known")
    return system


def said_last(system, name, event):
    """The release that a process named last in an event, None before the first."""
    named = [said["release"] for said in system.children[name].events() if said.get("event") == event]
    return named[-1] if named else None


def publish(system, release, event="release.live"):
    """Publish a release and wait until worker and scorer say of it what is expected."""
    publish_release(system.settings, release)
    for name in ("worker", "scorer"):
        wait_until(lambda name=name: said_last(system, name, event) == release.label, 20, f"{event} of the {name}")


def means(ledgers, release, log):
    """sum_i rating_sum_i x_i / t of each user, from the entries and the release's file."""
    vectors, has_vector = load_release(release).vectors_for(log.items)
    assert has_vector.all()
    rows = {item: row for row, item in enumerate(hash_ids(log.item_ids).tolist())}
    found = {}
    for user_id, ledger in ledgers.items():
        rated = entries(ledger)
        x = vectors[[rows[item] for item in rated["item"].tolist()]]
        found[user_id] = (rated["rating_sum"] / RATING_QUANTUM) @ x / ledger.t
    return found


def test_answers_name_another_release_and_score_old_ledgers_by_its_vectors(served, client, log, releases):
    publish(served, releases["six"])
    wait_until(lambda: client.ask("u1")["model"] == "items@six", message="the second release answers")
    ledgers = served.ledgers(USERS[:5])
    vectors, _ = load_release(releases["six"]).vectors_for(log.items)
    row = {item_id: number for number, item_id in enumerate(log.item_ids)}
    for user_id, theta in means(ledgers, releases["six"], log).items():
        assert ledgers[user_id].embedding_id == embedding_id(releases["four"])
        answer = client.ask(user_id, policy="greedy_compat", exclude_seen=False, k=50)
        assert len(answer["items"]) == 50
        for slot in answer["items"]:
            assert slot["parts"]["relevance"] == pytest.approx(theta @ vectors[row[slot["item_id"]]], abs=1e-9)


def test_swaps_in_mid_replay_leave_every_request_answered_and_every_mean_right(served, log, releases):
    with asking(served.settings, REQUESTS_PER_S, iter(USERS * 1000).__next__) as stream:
        with log.publishing(served.settings, 1, 400.0):
            for version in ("four", "six", "four", "six"):
                publish(served, releases[version])
        served.wait_until_applied(log.records)
        tally = stream.finish(ANSWER_S)
    assert (tally.answered, tally.errors) == (tally.sent, {})
    assert tally.last.model == "items@six"
    for user_id, ledger in served.ledgers(USERS).items():
        made_with = next(release for release in releases.values() if embedding_id(release) == ledger.embedding_id)
        theta = means({user_id: ledger}, made_with, log)[user_id]
        np.testing.assert_allclose(ledger.mean, theta, rtol=0, atol=1e-9)
    found, expected = served.digest(log.item_ids), log.expected()
    assert (found.state, found.statistics) == (expected.state, expected.statistics)


def test_the_next_rating_rewrites_a_ledger_with_the_live_release(served, log, releases):
    publish(served, releases["four"])
    with log.publishing(served.settings, 2, None):
        pass
    served.wait_until_applied(log.records)
    ledgers = served.ledgers(USERS)
    assert {ledger.embedding_id for ledger in ledgers.values()} == {embedding_id(releases["four"])}
    assert {ledger.unembedded for ledger in ledgers.values()} == {0}
    for user_id, theta in means(ledgers, releases["four"], log).items():
        np.testing.assert_allclose(ledgers[user_id].mean, theta, rtol=0, atol=1e-9)


def test_a_release_whose_file_was_changed_is_refused_and_the_live_one_stays(served, client, releases):
    live = client.ask("u1")["model"]
    assert live is not None
    publish(served, releases["broken"], event="release.refused")
    place = client.rate("u1", "i1", 4)
    answer = client.ask("u1", min_position=place)
    assert (answer["error"], answer["model"]) == (None, live)
    assert served.ledgers(["u1"])["u1"].embedding_id != embedding_id(releases["broken"])
    other = releases["six" if live == "items@four" else "four"]
    publish(served, other)
    wait_until(lambda: client.ask("u1")["model"] == other.label, message="the next good release answers")
