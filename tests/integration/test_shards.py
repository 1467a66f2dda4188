import os
import signal

import pytest

from services.lab.synthetic import Sizes
from tests.integration.replaying import Log
from tests.integration.system import end
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

RATE = 2500.0


@pytest.fixture(scope="module")
def log(broker):
    return Log(3, Sizes(users=80, items=60, ratings=2500))


@pytest.fixture(scope="module")
def running(make_system):
    """One log with two states of it: two workers on two shards, and one worker on one shard."""
    system = make_system(shards=2)
    one = system.settings.model_copy(update={"shards": 1, "namespace": f"{system.settings.namespace}-one"})
    first = system.launch("worker", name="first")
    second = system.launch("worker", name="second")
    alone = system.launch("worker", name="alone", settings=one)
    for child in (first, second, alone):
        child.wait_for_event("worker.ready")
    return system, one, first, second


def partitions_of(*workers):
    """The partitions each worker has applied batches of."""
    return [
        {event["partition"] for event in worker.events() if event.get("event") == "batch.applied"} for worker in workers
    ]


def count_sessions(worker):
    return sum(event.get("event") == "session.began" for event in worker.events())


def check_digests(system, one, log):
    for settings in (system.settings, one):
        system.wait_until_applied(log.records, settings)
    expected = log.expected()
    found = [system.digest(log.item_ids, settings) for settings in (system.settings, one)]
    assert found == [(expected.state, expected.statistics, expected.users, log.records)] * 2


def test_two_shards_and_two_workers_give_the_digest_of_one_of_each(running, log):
    system, one, first, second = running
    with log.publishing(system.settings, 0, RATE):
        pass
    check_digests(system, one, log)
    users = [sum(1 for _ in system.store.scan_iter(f"{{{system.settings.namespace}:{s}}}:g1:user:*")) for s in range(2)]
    assert min(users) > 0
    mine, theirs = partitions_of(first, second)
    assert mine | theirs == set(range(system.settings.partitions))
    assert mine
    assert theirs


def test_a_worker_that_froze_finds_its_partitions_taken_and_doubles_nothing_when_it_wakes(running, log):
    system, one, first, second = running
    before, sessions = log.records, count_sessions(first)
    with log.publishing(system.settings, 1, RATE):
        wait_until(lambda: system.applied() >= before + 500, 30, "some are applied")
        os.kill(first.pid, signal.SIGSTOP)
    try:
        system.wait_until_applied(log.records)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    wait_until(lambda: count_sessions(first) > sessions, 30, "it has partitions again")
    check_digests(system, one, log)
    assert partitions_of(second) == [set(range(system.settings.partitions))]


def test_a_worker_that_is_told_to_end_in_mid_replay_hands_over_and_ends_with_0(running, log):
    system, one, first, second = running
    before = log.records
    with log.publishing(system.settings, 2, RATE):
        wait_until(lambda: system.applied() >= before + 1000, 30, "a third is applied")
        assert end(second) == 0
    check_digests(system, one, log)
    assert second.events()[-1]["event"] == "worker.stopped"
    assert partitions_of(first) == [set(range(system.settings.partitions))]


def test_a_worker_that_gets_no_partition_is_ready_to_stand_by(make_system):
    system = make_system(partitions=1)
    workers = [system.launch("worker", name=name) for name in ("first", "second")]
    held = sorted(worker.wait_for_event("worker.ready")["partitions"] for worker in workers)
    assert held in ([[], [0]], [[0], [0]])
    assert [end(worker) for worker in workers] == [0, 0]
