import pytest
from kafka.errors import KafkaError

from services.admin.bus import open_admin
from services.lab.synthetic import Sizes
from streams.bus.topics import create_topics, describe_topics, require_topic
from tests.integration.replaying import Log
from tests.integration.system import end
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

HALT = 3
SIZES = Sizes(users=20, items=20, ratings=300)


@pytest.fixture(scope="module")
def systems(make_system):
    """Two systems, each with a worker and a log of its own of which one stretch is applied.

    The ratings topic of the second is deleted and made again at once, and the next stretch published on it while its
    worker still runs; how its state was before comes third.
    """
    pairs = [(make_system(), Log(3, SIZES)) for _ in range(2)]
    workers = [system.launch("worker") for system, _ in pairs]
    for worker in workers:
        worker.wait_for_event("worker.ready")
    for system, log in pairs:
        apply(system, log, 0)
    system, log = pairs[1]
    kept = system.digest(log.item_ids)
    replace_topic(system)
    with log.publishing(system.settings, 1, None):
        pass
    return [pairs[0], (system, log, kept)]


def apply(system, log, stretch):
    """Publish a stretch, and check the state once the running worker has applied it."""
    with log.publishing(system.settings, stretch, None):
        pass
    wait_until(lambda: system.applied() >= log.records or system.children["worker"].returncode, 60, "it is applied")
    check_digest(system, log)


def check_digest(system, log):
    found, expected = system.digest(log.item_ids), log.expected()
    assert (found.state, found.statistics, found.events) == (expected.state, expected.statistics, log.records)


def committed(system):
    """How many records of ``ratings`` are below the offsets that the workers' group has committed."""
    group = system.settings.group_worker
    with open_admin(system.settings) as admin:
        found = admin.list_group_offsets([group])[group]
    return sum(at.offset for at in found.values() if at.offset > 0)


def halt_of(child):
    """Which halt a worker ended with, and what it said; its exit code must be 3."""
    said = child.wait_for_event("worker.halted", 30)
    assert child.wait(10) == HALT
    return said["kind"], said["why"]


@pytest.fixture(scope="module")
def misled(systems):
    """A system beside whose worker others were started that were told another scale, and another number of shards."""
    system, log = systems[0]
    others = [system.settings.model_copy(update=other) for other in ({"rating_max": 10.0}, {"shards": 2})]
    children = [system.launch("worker", name=f"misled {number}", settings=other) for number, other in enumerate(others)]
    return system, log, [halt_of(child) for child in children]


def test_a_worker_told_another_rating_scale_or_number_of_shards_halts(misled):
    for kind, why in misled[2]:
        assert kind == "StateMismatch"
        assert "ratings 0.5 to 5, 1 shard(s)" in why


def test_the_worker_beside_them_goes_on(misled):
    system, log, _ = misled
    apply(system, log, 1)
    assert system.children["worker"].returncode is None


def test_a_worker_whose_store_is_flushed_halts_and_halts_again_until_told_otherwise(systems):
    system, log = systems[0]
    wait_until(lambda: committed(system) == log.records, message="what is applied is committed to Kafka, too")
    for key in system.store.scan_iter(f"{{{system.settings.namespace}:*"):
        system.store.delete(key)
    worker = system.children["worker"]
    kind, why = halt_of(worker)
    assert kind == "StateMissing"
    assert "committed offset" in why
    worker.restart()
    assert halt_of(worker)[0] == "StateMissing"
    assert system.applied() == 0


def replace_topic(system):
    """Delete the ratings topic and make it again."""
    name = system.topics["ratings"].name
    with open_admin(system.settings) as admin:
        admin.delete_topics([name])
        wait_until(lambda: name not in describe_topics(admin, [name]), message="the topic is gone")
        wait_until(lambda: made(admin, system), message="the topic is made again")


def made(admin, system):
    """Make the topics that are missing; a broker may still be deleting the old one."""
    try:
        create_topics(admin, system.settings)
    except KafkaError:
        return False
    return True


@pytest.fixture(scope="module")
def replaced(systems):
    """The system whose topic was made again, its log, the topic's id before and after, and the worker's halt."""
    system, log, _ = systems[1]
    before, halt = system.topics["ratings"].topic_id, halt_of(system.children["worker"])
    with open_admin(system.settings) as admin:
        system.topics["ratings"] = require_topic(admin, system.topics["ratings"].name)
    return system, log, before, system.topics["ratings"].topic_id, halt


def test_a_worker_whose_topic_is_made_again_halts_naming_both_ids(replaced):
    _, _, before, after, (kind, why) = replaced
    assert before != after
    assert kind == "TopicReplaced"
    assert before in why
    assert after in why


def test_nothing_of_the_topic_made_again_was_applied(systems, replaced):
    system, log, kept = systems[1]
    assert system.digest(log.item_ids) == kept


def test_a_worker_told_to_accept_the_new_topic_goes_on_with_the_ledgers_it_has(replaced):
    system, log, _, after, _ = replaced
    kind, why = halt_of(system.launch("worker", name="not told"))
    assert kind == "TopicReplaced"
    assert f"--accept-topic-id {after}" in why
    accepting = system.launch("worker", "--accept-topic-id", after, name="told")
    accepting.wait_for_event("worker.ready")
    wait_until(lambda: system.applied() == SIZES.ratings, 60, "the new topic's ratings are applied")
    check_digest(system, log)
    assert end(accepting) == 0
