"""A state made anew beside running processes, and a store that is emptied under them."""

import json
import subprocess
from collections import Counter

import pytest

from services.admin.bus import open_admin
from services.lab.synthetic import Sizes
from streams.store.generations import Generation, read_generation
from tests.integration.any_client import Client
from tests.integration.replaying import Log
from tests.integration.system import ROOT, STREAMREC, end, environment_of
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SIZES = Sizes(users=40, items=40, ratings=1500)
QUIET_MS = 5200


@pytest.fixture(scope="module")
def log(broker):
    return Log(4, SIZES)


@pytest.fixture(scope="module")
def running(make_system, log):
    """A system whose worker has applied a stretch, and whose scorer answers."""
    system = make_system()
    system.publish(log.items)
    system.start("worker", "scorer")
    apply(system, log, 0)
    return system


@pytest.fixture(scope="module")
def client(running, broker):
    client = Client(broker.url, running.settings.topic_prefix)
    yield client
    client.close()


def apply(system, log, stretch, worker="worker"):
    with log.publishing(system.settings, stretch, None):
        pass
    wait_until_applied(system, log, worker)


def wait_until_applied(system, log, worker="worker"):
    """Wait until all that was published is applied, while the worker runs; other commands may have ended."""

    def is_done():
        system.children[worker].check()
        return system.applied() >= log.records

    wait_until(is_done, 60, f"{log.records} ratings applied")
    assert system.applied() == log.records


def command(system, *arguments):
    return subprocess.run(
        [*STREAMREC, *arguments],
        cwd=ROOT,
        env=environment_of(system.settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def live(system):
    return read_generation(system.store, system.settings.namespace, system.settings.shards)


def rest(system):
    """Wait until no watermark has moved for as long as a rebuild asks for."""
    end(system.children["worker"])
    newest = {}

    def is_quiet():
        for key in system.store.scan_iter(f"{{{system.settings.namespace}:*:watermark:*"):
            newest[key] = int(system.store.get(key).split()[3])
        seconds, micros = system.store.time()
        return seconds * 1000 + micros // 1000 - max(newest.values()) > QUIET_MS

    wait_until(is_quiet, message="the last moves are old")


def published(log):
    """How many ratings each user has in what was published."""
    return Counter(user for stretch in log._published for user in stretch["user_id"])


def ask_beside(system, client, child, expected):
    """Ask for one user after the other until a process has ended, and ten times more; every answer must be right."""
    users, asked = sorted(expected), 0
    while child.returncode is None or asked % 10 or not asked:
        user = users[asked % len(users)]
        answer = client.ask(user, k=3, exclude_seen=False)
        assert (answer["error"], answer["state"]["t"], len(answer["items"])) == (None, expected[user], 3)
        asked += 1
    return asked


def digests(system, log):
    found, expected = system.digest(log.item_ids), log.expected()
    assert (found.state, found.statistics, found.events) == (expected.state, expected.statistics, log.records)


def test_rebuild_beside_a_running_worker_is_refused(running):
    done = command(running, "state", "rebuild")
    assert done.returncode == 1
    assert "a worker moved partition" in done.stderr
    assert "s ago" in done.stderr
    assert live(running) == Generation(1, 1)


@pytest.mark.parametrize(("shards", "stretch"), [(3, 1), (2, 2)])
def test_scorer_answers_all_through_a_rebuild_into_other_shards_and_the_worker_goes_on(
    running, log, client, shards, stretch
):
    before = live(running)
    rest(running)
    child = running.launch("state", "rebuild", "--shards", str(shards), name=f"rebuild {shards}")
    assert ask_beside(running, client, child, published(log)) >= 10
    assert child.returncode == 0
    assert live(running) == Generation(before.number + 1, shards)
    digests(running, log)
    running.children["worker"].restart()
    running.children["worker"].wait_for_event("worker.ready")
    apply(running, log, stretch)
    digests(running, log)
    child = running.launch("state", "drop-generation", name=f"drop {shards}")
    ask_beside(running, client, child, published(log))
    assert child.returncode == 0
    keys = {key.decode().split(":")[2] for key in running.store.scan_iter(f"{{{running.settings.namespace}:*}}:g*:*")}
    assert keys == {f"g{before.number + 1}"}
    assert running.children["scorer"].returncode is None


def test_what_is_said_while_a_rebuild_runs_is_applied_afterwards_once(running, log):
    rest(running)
    child = running.launch("state", "rebuild", name="rebuild last")
    with log.publishing(running.settings, 3, 400.0):
        assert child.wait(60) == 0
    running.children["worker"].restart()
    wait_until_applied(running, log)
    digests(running, log)


def test_past_state_is_shown_as_the_log_had_it(running, log):
    into = f"{running.settings.namespace}-past"
    user = max(published(log), key=published(log).get)
    assert command(running, "state", "rebuild", "--until", "100", "--into", into).returncode == 0
    there = command(running, "state", "show", user, "--json", "--namespace", into)
    then = command(running, "state", "show", user, "--json", "--at", "100")
    fields = ("t", "entries", "newest", "offset", "partition")
    assert [json.loads(there.stdout)[name] for name in fields] == [json.loads(then.stdout)[name] for name in fields]
    refused = command(running, "worker", "--namespace", into)
    assert refused.returncode == 3
    assert "as of 100" in refused.stdout + refused.stderr
    assert command(running, "state", "drop-generation", "--past", into).returncode == 0
    assert not list(running.store.scan_iter(f"{{{into}:*"))


@pytest.fixture(scope="module")
def rebuilding(make_system, broker):
    """A system whose worker rebuilds by itself, and its log."""
    system, log = make_system(rebuild_on_empty=True), Log(3, SIZES)
    system.publish(log.items)
    system.start("worker")
    apply(system, log, 0)
    return system, log


def wait_for_hints(system, log):
    group = system.settings.group_worker
    with open_admin(system.settings) as admin:

        def is_committed():
            found = admin.list_group_offsets([group])[group]
            return sum(at.offset for at in found.values() if at.offset > 0) == log.records

        wait_until(is_committed, message="what is applied is committed to Kafka, too")


def empty(system):
    for key in list(system.store.scan_iter(f"{{{system.settings.namespace}:*")):
        system.store.delete(key)


def first_event(child, *names):
    return next((event for event in child.events() if event.get("event") in names), None)


def test_store_emptied_under_a_worker_is_rebuilt_with_an_alarm(rebuilding):
    system, log = rebuilding
    wait_for_hints(system, log)
    empty(system)
    wait_until_applied(system, log)
    digests(system, log)
    said = [event for event in system.children["worker"].events() if event.get("event") == "state.rebuilding"]
    assert said
    assert {event["level"] for event in said} == {"critical"}
    assert sum({event["partition"]: event["reached"] for event in said}.values()) == log.records
    apply(system, log, 1)
    digests(system, log)


def test_store_emptied_while_no_worker_ran_is_rebuilt_by_one_that_is_told_to(make_system):
    system, log = make_system(shards=2), Log(2, SIZES)
    (worker,) = system.start("worker")
    apply(system, log, 0)
    wait_for_hints(system, log)
    assert end(worker) == 0
    empty(system)
    halted = system.launch("worker", name="not told")
    first = wait_until(lambda: first_event(halted, "worker.halted", "state.rebuilding"), 30, "what it does is said")
    assert (first["event"], first.get("kind")) == ("worker.halted", "StateMissing")
    told = system.launch("worker", "--rebuild", name="told")
    told.wait_for_event("worker.ready")
    apply(system, log, 1, "told")
    digests(system, log)
