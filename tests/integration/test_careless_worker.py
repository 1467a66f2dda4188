import random
import sys

import pytest

from services.lab.synthetic import Sizes
from tests.integration.replaying import Log

pytestmark = pytest.mark.integration

SEEDS = 5
SIZES = Sizes(users=60, items=80, ratings=2500)
RATE = 2500.0
CARELESS_WORKER = (sys.executable, "-m", "tests.integration.careless_worker")


def test_a_worker_that_trusts_committed_offsets_does_not_survive_the_crashes_that_ours_does(make_system):
    system, log = make_system(), Log(SEEDS, SIZES)
    worker = system.launch("worker", argv=CARELESS_WORKER)
    worker.wait_for_event("worker.ready")
    for seed in range(SEEDS):
        before = log.records
        moment = random.Random(seed).uniform(0.05, 0.9)
        with log.publishing(system.settings, seed, RATE):
            system.kill_when_applied(before + int(moment * SIZES.ratings), worker)
        worker.wait_for_event("worker.ready")
        system.wait_until_applied(log.records)
        if system.digest(log.item_ids).state != log.expected().state:
            return
    pytest.fail("a worker without the protocol came through five crashes")
