import random
import sys

import pytest

from services.lab.synthetic import Sizes
from services.loadtest.asking import RequestStream
from tests.integration.replaying import Log
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SEEDS = 5
SIZES = Sizes(users=60, items=80, ratings=2500)
RATE = 2500.0
REQUESTS_PER_S = 60.0
ANSWER_S = 60.0
CARELESS_WORKER = (sys.executable, "-m", "tests.integration.careless_worker")


@pytest.fixture(scope="module")
def log():
    return Log(SEEDS, SIZES)


@pytest.fixture(scope="module")
def running(make_system, log):
    """A system, its worker and its scorer; each crash finds the state that those before it left."""
    system = make_system()
    system.publish(log.items)
    return system, *system.start("worker", "scorer")


def kill_when_applied(system, records, *children):
    """Kill processes once so many ratings are behind the watermarks, and start them anew."""
    wait_until(lambda: system.applied() >= records, 60, f"{records} ratings applied")
    for child in children:
        child.kill()
    for child in children:
        child.restart()


def moment(draws):
    return int(draws.uniform(0.05, 0.9) * SIZES.ratings)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_crashes_of_worker_and_scorer_in_mid_replay_lose_and_double_nothing(running, log, seed):
    system, worker, scorer = running
    draws = random.Random(seed)
    before = log.records
    # Even seeds kill both at once, odd ones one after the other: then the second may die in the catching up.
    moments = sorted((moment(draws), moment(draws)))
    groups = [(worker, scorer)] if seed % 2 == 0 else draws.sample([(worker,), (scorer,)], 2)
    stream = RequestStream(system.settings, REQUESTS_PER_S, lambda: f"u{draws.randint(1, SIZES.users + 5)}")
    stream.start()
    with log.publishing(system.settings, seed, RATE):
        for group, after in zip(groups, moments, strict=False):
            kill_when_applied(system, before + after, *group)
    system.wait_until_applied(log.records)
    tally = stream.finish(ANSWER_S)
    found, expected = system.digest(log.item_ids), log.expected()
    assert (found.state, found.statistics) == (expected.state, expected.statistics)
    assert (found.users, found.events) == (expected.users, log.records)
    assert (tally.answered, tally.errors) == (tally.sent, {})
    assert tally.sent >= REQUESTS_PER_S * SIZES.ratings / RATE / 2


def test_a_worker_that_trusts_committed_offsets_fails_this_test(make_system):
    system, log = make_system(), Log(SEEDS, SIZES)
    worker = system.launch("worker", argv=CARELESS_WORKER)
    worker.wait_for_event("worker.ready")
    for seed in range(SEEDS):
        before = log.records
        with log.publishing(system.settings, seed, RATE):
            kill_when_applied(system, before + moment(random.Random(seed)), worker)
        worker.wait_for_event("worker.ready")
        system.wait_until_applied(log.records)
        if system.digest(log.item_ids).state != log.expected().state:
            return
    pytest.fail("a worker without the protocol came through five crashes")
