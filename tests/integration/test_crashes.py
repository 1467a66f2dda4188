import random

import pytest

from services.lab.synthetic import Sizes
from tests.integration.replaying import Log, asking

pytestmark = pytest.mark.integration

SEEDS = 5
SIZES = Sizes(users=60, items=80, ratings=2500)
RATE = 2500.0
REQUESTS_PER_S = 60.0
ANSWER_S = 60.0


@pytest.fixture(scope="module")
def log(broker):
    return Log(SEEDS, SIZES)


@pytest.fixture(scope="module")
def running(make_system, log):
    """A system, its worker and its scorer; each crash finds the state that those before it left."""
    system = make_system()
    system.publish(log.items)
    return system, *system.start("worker", "scorer")


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
    with asking(system.settings, REQUESTS_PER_S, lambda: f"u{draws.randint(1, SIZES.users + 5)}") as stream:
        with log.publishing(system.settings, seed, RATE):
            for group, after in zip(groups, moments, strict=False):
                system.kill_when_applied(before + after, *group)
        system.wait_until_applied(log.records)
        tally = stream.finish(ANSWER_S)
    found, expected = system.digest(log.item_ids), log.expected()
    assert (found.state, found.statistics) == (expected.state, expected.statistics)
    assert (found.users, found.events) == (expected.users, log.records)
    assert (tally.answered, tally.errors) == (tally.sent, {})
    assert tally.sent >= REQUESTS_PER_S * SIZES.ratings / RATE / 2
