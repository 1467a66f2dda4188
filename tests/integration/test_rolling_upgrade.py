"""Three releases on one state: the present one, one that reads the next layout of a ledger, one that writes it."""

import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest

from recommender.ledger.layout import READERS, WRITTEN
from services.lab.synthetic import Sizes
from tests.integration.replaying import Log
from tests.integration.system import ROOT, end, environment_of
from tests.next_layout import NEXT, learn_next
from tests.waiting import wait_until

# Layouts of ledgers are no business of the broker's.
pytestmark = [pytest.mark.integration, pytest.mark.parametrize("broker", ["tansu"], indirect=True)]

SIZES = Sizes(users=40, items=40, ratings=600)
READS, WRITES = ((sys.executable, "-m", "tests.integration.next_release", kind) for kind in ("reads", "writes"))
STRETCHES = 7
RATE = 3000.0
SEEN_ONCE = "rated while the next release ran, and never again"


@pytest.fixture
def _digests_of_both_layouts(monkeypatch):
    readers = dict(READERS)
    learn_next(readers)
    for name, read in readers.items():
        monkeypatch.setitem(READERS, name, read)


class Upgrade:
    """A system, its log, and the releases that run on it one after the other."""

    def __init__(self, system, log):
        self.system, self.log = system, log
        self.stretch = 0

    def run(self, name, argv=None):
        child = self.system.launch("worker", name=name, **({"argv": argv} if argv else {}))
        child.wait_for_event("worker.ready")
        return child

    def rate(self):
        """Publish the next stretch, wait until it is applied, and compare everything."""
        with self.publishing():
            pass
        self.check()

    def publishing(self):
        self.stretch += 1
        return self.log.publishing(self.system.settings, self.stretch - 1, RATE)

    def check(self):
        self.system.wait_until_applied(self.log.records)
        found, expected = self.system.digest(self.log.item_ids), self.log.expected()
        assert found == (expected.state, expected.statistics, expected.users, self.log.records)

    def layouts(self, generation=1):
        """Return how many ledgers begin with which two bytes."""
        store, name = self.system.store, self.system.settings.namespace
        return Counter(store.getrange(key, 0, 1) for key in store.scan_iter(f"{{{name}:0}}:g{generation}:user:*"))


def applied_by(child):
    return sum(event["applied"] for event in child.events() if event.get("event") == "batch.applied")


def rebuild(system, argv):
    return subprocess.run(
        [*argv, "state", "rebuild"],
        cwd=ROOT,
        env=environment_of(system.settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.usefixtures("_digests_of_both_layouts")
def test_a_layout_is_rolled_out_and_back_and_no_rating_is_lost(make_system):
    log = Log(STRETCHES, SIZES)
    log.stretches[3] = pd.concat([log.stretches[3], log.stretches[3].tail(1).assign(user_id=SEEN_ONCE)])
    upgrade = Upgrade(make_system(), log)
    system, users = upgrade.system, SIZES.users

    present = upgrade.run("present")
    upgrade.rate()
    reads = upgrade.run("reads", READS)
    assert end(present) == 0
    upgrade.rate()
    assert upgrade.layouts() == {WRITTEN: users}

    writes = upgrade.run("writes", WRITES)
    upgrade.rate()
    assert min(applied_by(reads), applied_by(writes)) > 0
    assert set(upgrade.layouts()) == {WRITTEN, NEXT}
    assert end(reads) == 0
    upgrade.rate()
    assert upgrade.layouts() == {NEXT: users + 1}
    assert end(writes) == 0

    before = system.applied()
    too_old = system.launch("worker", name="too old")
    with upgrade.publishing():
        wait_until(lambda: too_old.returncode is not None, 30, "a release that cannot read the layout ends")
    assert too_old.returncode == 1
    assert "ledger version must be 1.1, got 2.1" in too_old.log_path.read_text()
    assert system.applied() == before
    too_old.stop()

    back = upgrade.run("back", READS)
    upgrade.check()
    upgrade.rate()
    assert upgrade.layouts() == {WRITTEN: users, NEXT: 1}
    assert end(back) == 0
    wait_until(lambda: rebuild(system, READS).returncode == 0, 60, "the state is made anew")
    assert upgrade.layouts(2) == {WRITTEN: users + 1}
    upgrade.run("present again")
    upgrade.rate()
