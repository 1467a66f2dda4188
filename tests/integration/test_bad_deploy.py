"""A release that takes good events for bad, seen through to its end: breaker, resume, redrive."""

import pytest

from services.admin.bus import produce_all
from services.admin.letters import read_letters
from tests.integration.commands import Shells
from tests.integration.system import environment_of
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

HALT = 3
USERS = ("a", "b", "c")
LETTERS = 60
"""Dead-lettered by the bad release before there are enough events to judge by."""
EVENTS = 400


def ratings(count, first=0):
    """Ratings of the users in turn."""
    for n in range(first, first + count):
        user = USERS[n % 3]
        yield user.encode(), f'{{"user_id":"{user}","item_id":"i{n % 7}","rating":4}}'.encode()


def halt_of(child):
    said = child.wait_for_event("worker.halted", 30)
    assert child.wait(10) == HALT
    return said["kind"], said["why"]


def counts(system):
    return [0 if ledger is None else ledger.t for ledger in system.ledgers(USERS).values()]


@pytest.fixture(scope="module")
def drained(make_system):
    """A system whose worker was deployed with the fields in the wrong place, and how it halted."""
    system = make_system(partitions=1)
    wrong = system.settings.model_copy(update={"rating_fields": "user_id=payload.user"})
    bad_release = system.launch("worker", name="bad release", settings=wrong)
    bad_release.wait_for_event("worker.ready")
    topic = system.settings.topic("ratings")
    produce_all(system.settings, topic, ratings(LETTERS))
    wait_until(lambda: system.applied() == LETTERS, 30, "the watermark passes the dead letters")
    produce_all(system.settings, topic, ratings(EVENTS, LETTERS))
    return system, halt_of(bad_release), bad_release


def test_bad_release_halts_before_the_topic_is_drained_and_refuses_to_start_again(drained):
    system, (kind, why), bad_release = drained
    assert kind == "BreakerOpen"
    assert "up to offset 99 break the contract (missing_field 100)" in why
    assert "--resume" in why
    bad_release.restart()
    assert halt_of(bad_release) == (kind, why)
    assert halt_of(system.launch("worker", name="good release, not told"))[0] == "BreakerOpen"
    assert len(read_letters(system.settings).letters) < 100
    assert counts(system) == [0, 0, 0]


@pytest.fixture(scope="module")
def resumed(drained, tmp_path_factory):
    """The same system with a good release that was told to go on, and a shell beside it."""
    system = drained[0]
    worker = system.launch("worker", "--resume", name="good release")
    worker.wait_for_event("worker.ready")
    shells = Shells(tmp_path_factory.mktemp("shell"), system.supervisor, environment_of(system.settings))
    return system, worker, shells


def test_good_release_that_is_told_goes_on_where_the_bad_one_halted(resumed):
    system, _, _ = resumed
    wait_until(lambda: system.applied() == LETTERS + EVENTS, 30, "the log is applied")
    assert sum(counts(system)) == LETTERS + EVENTS - len(read_letters(system.settings).letters)


def test_redrive_interrupted_repeated_and_through_a_killed_worker_applies_each_letter_once(resumed):
    system, worker, shells = resumed
    letters = len(read_letters(system.settings).letters)
    assert f"{letters} of {letters} letters would be sent" in shells.say("dlq", "redrive", "--dry-run")
    assert "20 of" in shells.say("dlq", "redrive", "--limit", "20")
    worker.kill()
    assert f"{letters} of {letters} letters sent" in shells.say("dlq", "redrive")
    worker.restart()
    shells.say("dlq", "redrive")
    sent = 20 + 2 * letters
    wait_until(lambda: system.applied() >= LETTERS + EVENTS + sent, 60, "everything sent is behind the watermark")
    assert sorted(counts(system)) == [153, 153, 154]
    assert sum(counts(system)) == LETTERS + EVENTS
    assert shells.say("dlq", "redrive", "--delete").endswith("letters sent and deleted\n")
    assert shells.say("dlq", "list") == "no dead letters\n"
    wait_until(lambda: system.applied() >= LETTERS + EVENTS + sent + letters, 60, "that, too")
    assert sum(counts(system)) == LETTERS + EVENTS
