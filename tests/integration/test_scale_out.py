"""Eight partitions, three nodes of a store, and workers and scorers of which some end while others come."""

import uuid

import pandas as pd
import pytest

from schemas.errors import DataError
from services.lab.datasets import Dataset, load_dataset, make_synthetic
from services.lab.synthetic import Sizes
from streams.settings import Settings
from streams.store.keys import ShardKeys
from tests.faults.cluster import PRIMARIES, Cluster
from tests.integration.any_client import Client
from tests.integration.replaying import Log, asking
from tests.integration.system import System, end
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.kafka]

PARTITIONS, SHARDS = 8, 6
RATE = 5000.0
REQUESTS_PER_S = 40.0
WAITING_USERS = 16
DEADLINE_MS = 180_000
ANSWER_S = 60.0
FIRST_SHARE = 0.85


def load_log() -> Dataset:
    """MovieLens-100k, or where there is no way to it a generated log of its size."""
    try:
        return load_dataset("movielens-100k")
    except DataError:
        return make_synthetic(0, Sizes(users=943, items=1682, ratings=100_000))


class LogOf(Log):
    """The log of a data set in two stretches: one for the changes, one for who is left after them."""

    def __init__(self, data: Dataset) -> None:
        cut = int(FIRST_SHARE * len(data.ratings))
        self.whole = data.ratings
        self.items, self.stretches, self._published = data.items, [data.ratings[:cut], data.ratings[cut:]], []


@pytest.fixture(scope="module")
def log(kafka_home):
    return LogOf(load_log())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, kafka_home):
    with Cluster(tmp_path_factory.mktemp("cluster"), has_replicas=False) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def system(kafka_broker, cluster, tmp_path_factory):
    settings = Settings(
        bootstrap_servers=kafka_broker.url,
        redis_url=cluster.url,
        topic_prefix=f"{uuid.uuid4().hex[:10]}.",
        namespace=namespace_on_every_node(cluster),
        model_dir=str(tmp_path_factory.mktemp("models")),
        partitions=PARTITIONS,
        shards=SHARDS,
        session_timeout_s=3,
        rebalance_timeout_s=3,
    )
    with System(settings, tmp_path_factory.mktemp("logs")) as system:
        yield system


def namespace_on_every_node(cluster):
    """Return a namespace whose shards lie on all three nodes."""
    while True:
        name = f"t-{uuid.uuid4().hex[:10]}"
        shards = [ShardKeys(name, shard).live_generation for shard in range(SHARDS)]
        if len({cluster.primary_of(key) for key in shards}) == PRIMARIES:
            return name


def last_states(ratings: pd.DataFrame) -> dict[str, int]:
    """Return the final t of those users whose last rating is the latest in the log."""
    by_user = ratings.groupby("user_id")
    last = pd.Series(range(len(ratings))).groupby(ratings["user_id"]).max().nlargest(WAITING_USERS)
    return by_user.size()[last.index].to_dict()


def start(system, command, *names):
    children = [system.launch(command, name=name) for name in names]
    for child in children:
        child.wait_for_event(f"{command}.ready")
    return children


def kill(child):
    """End a process as a crash does, and never start it again."""
    child.kill()
    child.stop()


def partitions_of(*workers):
    """The partitions of which workers have applied batches."""
    return {
        event["partition"] for child in workers for event in child.events() if event.get("event") == "batch.applied"
    }


def change_members(system, log, workers, scorers):
    """Have members come and go while the log is published; return the workers that are left."""
    (first, second), (third, fourth), size = workers, scorers, len(log.whole)

    def wait_for(share):
        wait_until(lambda: system.applied() >= share * size, 120, f"{share:.0%} are applied")

    wait_for(0.1)
    (joined,) = start(system, "worker", "worker joined")
    assert end(first) == 0
    wait_for(0.3)
    kill(second)
    (after_crash,) = start(system, "worker", "worker after a crash")
    wait_for(0.5)
    start(system, "scorer", "scorer joined")
    assert end(third) == 0
    wait_for(0.7)
    kill(fourth)
    start(system, "scorer", "scorer after a crash")
    return [joined, after_crash]


def test_members_come_and_go_and_nothing_is_lost_doubled_or_left_unanswered(system, log, cluster, kafka_broker):
    system.publish(log.items)
    workers = start(system, "worker", "worker one", "worker two")
    scorers = start(system, "scorer", "scorer one", "scorer two")
    client = Client(kafka_broker.url, system.settings.topic_prefix)
    awaited = last_states(log.whole)
    held = {client.request(user, min_t=t, deadline_ms=DEADLINE_MS): t for user, t in awaited.items()}
    users = iter(log.whole["user_id"])
    with asking(system.settings, REQUESTS_PER_S, lambda: next(users)) as stream:
        with log.publishing(system.settings, 0, RATE):
            left = change_members(system, log, workers, scorers)
        with log.publishing(system.settings, 1, RATE):
            pass
        system.wait_until_applied(log.records)
        tally = stream.finish(ANSWER_S)
    answers = {request_id: client.answer(request_id) for request_id in held}
    client.close()
    found, expected = system.digest(log.item_ids), log.expected()
    assert found == (expected.state, expected.statistics, expected.users, log.records)
    assert (tally.answered, tally.errors) == (tally.sent, {})
    assert {request_id: answer["state"]["t"] for request_id, answer in answers.items()} == held
    assert [child for child in left if not partitions_of(child)] == []
    assert partitions_of(*left) == set(range(PARTITIONS))
    assert min(node.dbsize() for node in cluster.clients) > 100
