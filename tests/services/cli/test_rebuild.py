"""`streamrec state rebuild` and `state drop-generation`: what is said, and the exit codes."""

import pytest

from streams.store.keys import ShardKeys
from tests.services.admin.worlds import RATINGS, World, expected

pytestmark = pytest.mark.integration


@pytest.fixture
def worked(tansu_broker, store, make_settings):
    """A world whose log is applied and whose worker has been gone for a while."""
    world = World(make_settings(bootstrap_servers=tansu_broker.url, redis_url=store.url, partitions=3))
    world.send(*RATINGS)
    world.work()
    yield world
    world.client.close()


def test_rebuild_shows_both_digests_and_what_is_live_now(run, worked):
    outcome = run("state", "rebuild", "--shards", "3", settings=worked.settings)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count(expected(RATINGS)[0]) == 2
    assert outcome.out.count(expected(RATINGS)[1]) == 2
    assert "generation 2 is live; generation 1 is kept" in outcome.out
    assert worked.live.shards == 3


def test_difference_is_shown_with_the_users_and_ends_with_1(run, worked):
    worked.client.delete(ShardKeys(worked.settings.namespace, 0).ledger("u5"))
    outcome = run("state", "rebuild", settings=worked.settings)
    assert outcome.code == 1
    assert "they differ: 1 users are not the same, ratings +26" in outcome.err
    assert "not flipped, generation 1 is live as before" in outcome.err
    assert "u5" in outcome.out
    assert run("state", "rebuild", "--accept-difference", settings=worked.settings).code == 0
    assert worked.digest() == expected(RATINGS)


def test_generation_is_dropped_by_number_and_the_live_one_is_refused(run, worked):
    worked.rebuild()
    refused = run("state", "drop-generation", "2", settings=worked.settings)
    assert (refused.code, "generation 2 is the live one" in refused.err) == (1, True)
    kept = len(worked.keys(1))
    assert f"generation 1: {kept} keys removed" in run("state", "drop-generation", settings=worked.settings).out
    assert "only the live generation is there" in run("state", "drop-generation", settings=worked.settings).out
    assert "no such generation" in run("state", "drop-generation", "7", settings=worked.settings).out


def test_past_state_is_named_and_removed_again(run, worked):
    into = f"{worked.settings.namespace}-past"
    made = run("state", "rebuild", "--until", "0:20", "--into", into, settings=worked.settings)
    assert made.code == 0, made.err
    assert f"the state as of 0:20 is in namespace {into}" in made.out
    assert "keys removed" in run("state", "drop-generation", "--past", into, settings=worked.settings).out
    assert not list(worked.client.scan_iter(f"{{{into}:*"))


@pytest.mark.parametrize("flags", [("--until", "3"), ("--into", "there")])
def test_moment_and_namespace_belong_together(run, flags):
    outcome = run("state", "rebuild", *flags)
    assert outcome.code == 2
    assert "--until and --into belong together" in outcome.err


def test_live_namespace_is_no_place_for_a_past_state(run, worked):
    outcome = run("state", "rebuild", "--until", "3", "--into", worked.settings.namespace, settings=worked.settings)
    assert outcome.code == 2
    assert "--into must be another namespace" in outcome.err


def test_number_and_past_namespace_are_not_given_together(run):
    outcome = run("state", "drop-generation", "3", "--past", "there")
    assert outcome.code == 2
    assert "give a generation or --past, not both" in outcome.err
