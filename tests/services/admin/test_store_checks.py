"""What the doctor makes of Redis."""

import pytest

from schemas.errors import ConfigurationError, StoreUnavailable
from services.admin.store_checks import (
    check_clock,
    check_state,
    check_store,
    judge_store,
    judge_watermarks,
    open_store,
)
from streams.bus.topics import TopicInfo
from streams.store.clients import without_password
from streams.store.keys import ShardKeys
from streams.store.reader import ShardView

MIB = 2**20
INFO = {"redis_version": "7.4.1", "maxmemory_policy": "noeviction", "maxmemory": 0, "used_memory": 3 * MIB}


@pytest.mark.parametrize(
    ("info", "status", "word"),
    [
        ({}, "ok", "redis 7.4.1, noeviction, 3 MiB used of no limit"),
        ({"server_name": "valkey", "valkey_version": "9.1.0", "redis_version": "7.2.4"}, "ok", "valkey 9.1.0"),
        ({"redis_version": "6.2.14"}, "fail", "6.2.14"),
        ({"redis_version": "10.0.0"}, "ok", "10.0.0"),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 8 * MIB}, "fail", "allkeys-lru"),
        ({"maxmemory_policy": "allkeys-lru"}, "warn", "allkeys-lru"),
        ({"maxmemory": 4 * MIB}, "ok", "of 4 MiB"),
        ({"maxmemory": 3 * MIB + 1}, "warn", "of 3 MiB"),
    ],
)
def test_server_is_judged_by_version_eviction_and_room(info, status, word):
    finding = judge_store("store", INFO | info)
    assert finding.status == status
    assert word in finding.says
    assert bool(finding.remedy) == (status != "ok")


class StoreClock:
    """A store whose clock is ``ahead_s`` ahead of 1000.0."""

    def __init__(self, ahead_s):
        self.at = 1000.0 + ahead_s

    def time(self):
        return int(self.at), round((self.at - int(self.at)) * 1e6)


@pytest.mark.parametrize(
    ("ahead_s", "status", "says"),
    [
        (0.1, "ok", "100 ms ahead"),
        (-0.4, "ok", "400 ms behind"),
        (1.0, "warn", "ahead"),
        (-6.0, "fail", "6000 ms behind"),
    ],
)
def test_clock_is_judged_by_its_distance(ahead_s, status, says):
    finding = check_clock(StoreClock(ahead_s), clock=lambda: 1000.0)
    assert finding.status == status
    assert says in finding.says


def test_slow_answer_is_no_skew():
    # Asked at 1000 and answered at 1004, with the store's clock at 1000.1: it may agree to the millisecond.
    times = iter([1000.0, 1004.0])
    assert check_clock(StoreClock(0.1), clock=lambda: next(times)).status == "ok"


def view(watermarks, age_ms=5.0):
    return ShardView(watermarks=watermarks, age_ms=age_ms, sequence=0)


@pytest.mark.parametrize(
    ("shards", "status", "says"),
    [
        ({0: view({0: 10, 1: 5})}, "ok", "15 of 15 offsets done, 0 to go; watermarks are 5 ms old"),
        ({0: view({0: 8, 1: 5})}, "ok", "13 of 15 offsets done, 2 to go"),
        ({0: view({0: 10, 1: 5}), 1: view({0: 7, 1: 5})}, "ok", "12 of 15 offsets done, 3 to go"),
        ({0: view({0: 10, 1: 5}, age_ms=11_000.0)}, "warn", "watermarks are 11 s old"),
        ({0: view({0: 10})}, "warn", "10 of 15 offsets done"),
        ({0: view({}, age_ms=None)}, "warn", "no watermark"),
        ({0: view({0: 12, 1: 5})}, "fail", "partition 0 ends at 10, the state is at 12"),
        ({0: view({0: 10, 1: 5, 2: 1})}, "fail", "partition 2 ends at 0, the state is at 1"),
    ],
)
def test_watermarks_are_judged_beside_the_ends_of_the_log(shards, status, says):
    finding = judge_watermarks(shards, {0: 10, 1: 5})
    assert finding.status == status
    assert says in finding.says


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("rediss://:se/cret@host:1/0", "rediss://host:1/0"),
        ("redis://user:s@cret@host/0", "redis://host/0"),
        ("redis+cluster://a:b@host", "redis+cluster://host"),
        ("unix://:secret@/tmp/r.sock", "unix:///tmp/r.sock"),
    ],
)
def test_url_is_shown_without_its_password(url, shown):
    assert without_password(url) == shown


def test_store_that_does_not_answer_is_named_without_its_password(make_settings):
    with pytest.raises(StoreUnavailable, match=r"no Redis answers at redis://127\.0\.0\.1:1/0") as refused:
        open_store(make_settings(redis_url="redis://:secret@127.0.0.1:1/0"))
    assert "secret" not in str(refused.value)


def test_url_of_something_else_is_refused(make_settings):
    with pytest.raises(ConfigurationError, match="redis_url"):
        open_store(make_settings(redis_url="http://localhost"))


@pytest.mark.integration
class TestOnARealStore:
    TOPIC = TopicInfo("ratings", "id-1", 2)

    @pytest.fixture
    def settings(self, make_settings, store):
        return make_settings(redis_url=store.url, shards=2)

    @pytest.fixture
    def client(self, settings):
        with open_store(settings) as opened:
            yield opened

    def make_state(self, client, settings, topic_id):
        seconds, _ = client.time()
        for shard in range(settings.shards):
            keys = ShardKeys(settings.namespace, shard)
            client.set(keys.live_generation, 1)
            client.set(keys.topic, topic_id)
            for partition in range(2):
                client.set(keys.watermark(topic_id, partition), f"7 1 owner {seconds * 1000}")

    def test_embedded_store_and_its_clock_are_well(self, client):
        assert [finding.status for finding in check_store(client)] == ["ok"]
        assert check_clock(client).status == "ok"

    def test_state_that_was_never_made_asks_for_a_worker(self, client, settings):
        (finding,) = check_state(client, settings, self.TOPIC, {0: 0, 1: 0})
        assert (finding.status, finding.remedy) == ("warn", "run `streamrec worker`")

    def test_state_at_the_end_of_its_log_is_well(self, client, settings):
        self.make_state(client, settings, "id-1")
        (finding,) = check_state(client, settings, self.TOPIC, {0: 7, 1: 7})
        assert finding.status == "ok"
        assert finding.says.startswith("14 of 14 offsets done, 0 to go")

    def test_state_of_another_rating_scale_names_both(self, client, settings):
        self.make_state(client, settings, "id-1")
        client.set(ShardKeys(settings.namespace, 1).scale, "ratings 1 to 10, 2 shard(s)")
        (finding,) = check_state(client, settings, self.TOPIC, {0: 7, 1: 7})
        assert finding.status == "fail"
        assert (
            finding.says
            == "it was made with ratings 1 to 10, 2 shard(s), the settings say ratings 0.5 to 5, 2 shard(s)"
        )

    def test_state_of_another_topic_names_both_ids(self, client, settings):
        self.make_state(client, settings, "id-0")
        (finding,) = check_state(client, settings, self.TOPIC, {0: 7, 1: 7})
        assert finding.status == "fail"
        assert "id-0" in finding.says
        assert "id-1" in finding.says
        assert "--accept-topic-id id-1" in finding.remedy
