"""The state in a cluster: writer, reader and statistics on a cluster of one node."""

import asyncio
import os

import numpy as np
import pytest
import redis

from recommender.ledger import EVENT
from recommender.ledger.batch import EmbeddedItems, EventBatch, fold_batch
from services.admin.digest import state_digest
from services.admin.generations import drop_generations
from services.runtime.ports import HOST, free_ports
from services.runtime.process import Process
from services.runtime.valkey import _binary
from streams.store.clients import make_async_client, make_client
from streams.store.reader import StateReader
from streams.store.statistics import StatisticsFollower
from streams.store.writer import DELTA, StateWriter
from tests.services.admin.worlds import RATINGS, World, expected
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

NO_ITEMS = EmbeddedItems(bytes(8), np.empty(0, np.uint64), np.empty((0, 0)))
ITEM = 5


@pytest.fixture
def cluster_url(tmp_path):
    port, bus = free_ports(2)
    cluster = ["--cluster-enabled", "yes", "--cluster-port", str(bus)]
    argv = [_binary(), "--port", str(port), "--bind", HOST, "--dir", str(tmp_path), "--save", "", *cluster]
    node = Process("cluster node", argv, log_path=tmp_path / "log", environment=os.environ)
    client = redis.Redis(host=HOST, port=port)
    try:

        def answers():
            try:
                return client.ping()
            except redis.ConnectionError:
                return False

        wait_until(answers)
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        yield f"redis+cluster://{HOST}:{port}"
    finally:
        client.close()
        node.stop()


def test_state_is_made_anew_in_other_shards_and_the_old_one_dropped(cluster_url, tansu_broker, make_settings):
    world = World(make_settings(bootstrap_servers=tansu_broker.url, redis_url=cluster_url, partitions=3))
    world.send(*RATINGS)
    world.work()
    assert world.rebuild(shards=3).is_flipped
    assert world.digest() == expected(RATINGS)
    assert list(drop_generations(world.client, world.settings)) == [1]
    assert (world.keys(1), world.digest()) == ([], expected(RATINGS))
    world.client.close()


async def rate_once_in_each_shard(settings):
    client = make_async_client(settings)
    writer = StateWriter(client, settings.namespace, 2, settings.rating_scale)
    for shard, user in ((0, "u1"), (1, "u2")):
        claim, start = await writer.assign(shard, "T", 0, "me", 0)
        stored = (await writer.read(claim, [user], [1], NO_ITEMS)).ledgers
        events = EventBatch(np.zeros(1, np.int64), np.array([(ITEM, 30000, 0)], EVENT), np.zeros(1, np.uint64))
        folded = fold_batch(events, stored, np.ones(1, np.uint64), 1, 0, NO_ITEMS)
        await writer.commit(claim, start, 1, [user], folded.writes, np.array([(ITEM, 1, 30000)], DELTA))
    await client.aclose()


def test_state_of_two_shards_is_written_and_read(cluster_url, make_settings, monkeypatch):
    settings = make_settings(redis_url=cluster_url, shards=2)
    asyncio.run(rate_once_in_each_shard(settings))
    monkeypatch.setattr("streams.store.reader.shard_of", lambda user, _: int(user[1:]) - 1)
    with make_client(settings) as client:
        reader = StateReader(client, settings.namespace, 2, "T", 1)
        reader.check_scale(settings.rating_scale)
        snapshot = reader.read(["u1", "u2"], all_shards=True)
        follower = StatisticsFollower(client, reader)
        follower.follow()
        monkeypatch.setattr("services.admin.digest.hash_id", lambda _: ITEM)
        found = state_digest(client, settings, ["a"])
    assert [snapshot.ledgers[user].t for user in ("u1", "u2")] == [1, 1]
    assert {shard: view.watermarks for shard, view in snapshot.shards.items()} == {0: {0: 1}, 1: {0: 1}}
    assert (follower.counts, follower.sums) == ({ITEM: 2}, {ITEM: 60000})
    assert (found.users, found.events) == (2, 2)


def test_users_of_each_shard_are_walked_over_and_looked_at(cluster_url, make_settings):
    settings = make_settings(redis_url=cluster_url, shards=2)

    async def scenario():
        await rate_once_in_each_shard(settings)
        client = make_async_client(settings)
        writer = StateWriter(client, settings.namespace, 2, settings.rating_scale)
        found = []
        for shard in (0, 1):
            claim, _ = await writer.assign(shard, "T", 0, "me", 0)
            cursor, users = await writer.scan_users(claim, 0, 1000)
            while cursor:
                cursor, more = await writer.scan_users(claim, cursor, 1000)
                users += more
            found.append((users, await writer.read_idle(claim, users, 0, 1000)))
        await client.aclose()
        return found

    assert asyncio.run(scenario()) == [(["u1"], (1, [])), (["u2"], (1, []))]


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_cluster_clients_never_send_a_call_twice(cluster_url, make_settings, kind):
    settings = make_settings(redis_url=cluster_url)
    if kind == "blocking":
        with make_client(settings) as client:
            node = client.get_primaries()[0].redis_connection
            retries = [client.retry.get_retries(), node.connection_pool.connection_kwargs["retry"].get_retries()]
    else:

        async def look():
            client = make_async_client(settings)
            await client.initialize()
            node = client.get_primaries()[0]
            found = [client.retry.get_retries(), node.connection_kwargs.get("retry")]
            await client.aclose()
            return [found[0], found[1].get_retries() if found[1] else 0]

        retries = asyncio.run(look())
    assert retries == [0, 0]
