"""A state made anew from the log on a real broker and store, the live one made by the worker's own path."""

from contextlib import suppress

import pytest
from kafka import TopicPartition

from recommender.hashing import shard_of
from schemas.errors import ConfigurationError, EventsLost, LogTooShort, StateMismatch, StoreUnavailable, StreamrecError
from services.admin import rebuild as rebuild_module
from services.admin.bus import open_admin
from services.admin.generations import drop_generations, drop_past
from services.admin.history import fold_user
from services.admin.ledgers import every_ledger
from services.admin.past import build_past
from services.admin.until import Until, parse_until
from streams.store.generations import Generation
from streams.store.keys import ShardKeys
from streams.store.reader import StateReader
from streams.store.scripts import FLIP
from streams.store.writer import Watermark
from streams.worker.breaker import BreakerMark
from tests.services.admin.worlds import PARTITIONS, RATINGS, World, expected, quiet

pytestmark = pytest.mark.integration


@pytest.fixture
def make_world(store, make_settings):
    """A maker of worlds on a broker; most guards have nothing to do with which one it is."""
    worlds = []

    def make(broker):
        settings = make_settings(
            bootstrap_servers=broker.url, redis_url=store.url, partitions=PARTITIONS, fetch_wait_ms=20
        )
        worlds.append(World(settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.client.close()


@pytest.fixture
def world(make_world, tansu_broker):
    return make_world(tansu_broker)


@pytest.fixture
def each_world(make_world, broker):
    """A world on each broker in turn."""
    return make_world(broker)


@pytest.fixture
def worked(world):
    """A world whose log is applied and whose worker has been gone for a while."""
    world.send(*RATINGS)
    world.work()
    return world


@pytest.fixture
def each_worked(each_world):
    """The same on each broker in turn."""
    each_world.send(*RATINGS)
    each_world.work()
    return each_world


def test_state_made_anew_is_the_same_in_another_number_of_shards_each_time(each_worked):
    for number, shards in ((2, 3), (3, 2), (4, 1)):
        done = each_worked.rebuild(shards=shards)
        assert done.is_flipped
        assert done.comparison.is_equal
        assert each_worked.live == Generation(number, shards)
        assert each_worked.digest() == expected(RATINGS)
        homes = {key[: key.index("}") + 1] for key in each_worked.keys(number) if ":user:" in key}
        assert len(homes) == shards
    assert each_worked.letters == []


def test_number_of_shards_stays_where_no_setting_says_another(worked, monkeypatch):
    worked.rebuild(shards=3)
    monkeypatch.setattr(worked, "settings", type(worked.settings)(**worked.settings.model_dump(exclude={"shards"})))
    worked.rebuild()
    assert worked.live == Generation(3, 3)


def test_worker_goes_on_where_the_rebuild_ended_with_what_was_said_meanwhile(each_worked):
    more = [("u1", "i3", 5.0), ("new", "i4", 1.0)]

    def on_stage(name, total):
        if name == "rebuilding":
            each_worked.send(*more)
        return quiet(name, total)

    before = each_worked.watermarks()[0]
    done = each_worked.rebuild(on_stage, shards=2)
    assert done.is_flipped
    assert each_worked.watermarks() == {0: before, 1: before}
    assert each_worked.digest() == expected(RATINGS)
    each_worked.work()
    assert each_worked.digest() == expected(RATINGS + more)


def test_rebuild_refuses_while_a_worker_commits_and_says_where_and_how_long_ago(world):
    world.send(*RATINGS)
    world.work(ages=False)
    before = world.watermarks()
    with pytest.raises(StreamrecError, match=r"a worker moved partition \d \d\.\d s ago, in shard 0"):
        world.rebuild()
    assert world.live == Generation(1, 1)
    assert world.watermarks() == before
    assert not world.client.exists(ShardKeys(world.settings.namespace, 0).building)


@pytest.mark.parametrize(("more", "accepts"), [([], False), (RATINGS[:9], False), (RATINGS[:9], True)])
def test_worker_that_takes_a_partition_meanwhile_keeps_the_flip_away(worked, more, accepts):
    def on_stage(name, total):
        if name == "comparing":
            worked.send(*more)
            worked.work()
        return quiet(name, total)

    with pytest.raises(StreamrecError, match=r"taken over .* nothing was flipped"):
        worked.rebuild(on_stage, accepts_difference=accepts)
    assert worked.live == Generation(1, 1)
    assert worked.digest() == expected(RATINGS + more)


@pytest.mark.parametrize("stage", ["rebuilding", "comparing"])
def test_interrupted_rebuild_leaves_the_live_state_alone_and_can_be_run_again(worked, stage):
    def on_stage(name, total):
        def on_records(_count):
            if stage == "rebuilding":
                raise KeyboardInterrupt

        if name == stage == "comparing":
            raise KeyboardInterrupt
        return on_records

    before = worked.watermarks()
    with pytest.raises(KeyboardInterrupt):
        worked.rebuild(on_stage, shards=2)
    assert worked.live == Generation(1, 1)
    assert worked.watermarks() == before
    assert worked.digest() == expected(RATINGS)
    assert worked.keys(2)
    assert worked.rebuild(shards=2).is_flipped
    assert (worked.live, worked.keys(2)) == (Generation(3, 2), [])
    assert worked.digest() == expected(RATINGS)


def test_another_rebuild_ends_the_first_and_both_do_no_harm(worked):
    done = []

    def on_stage(name, total):
        if name == "comparing":
            done.append(worked.rebuild(shards=3))
        return quiet(name, total)

    with pytest.raises(StreamrecError, match="nothing was flipped"):
        worked.rebuild(on_stage, shards=2)
    assert done[0].is_flipped
    assert worked.live == Generation(3, 3)
    assert worked.digest() == expected(RATINGS)


def test_flip_that_reached_only_the_first_shard_counts_and_the_next_worker_finishes_it(worked, monkeypatch):
    worked.rebuild(shards=2)
    original = rebuild_module.call_script
    flips = []

    def call(client, script, keys, arguments):
        if script is FLIP:
            flips.append(keys)
            if len(flips) > 1:
                raise StoreUnavailable("gone")
        return original(client, script, keys, arguments)

    monkeypatch.setattr(rebuild_module, "call_script", call)
    with pytest.raises(StoreUnavailable):
        worked.rebuild(shards=3)
    assert worked.live == Generation(3, 3)
    assert worked.digest() == expected(RATINGS)
    tokens = [worked.client.get(ShardKeys(worked.settings.namespace, shard).live_generation) for shard in range(3)]
    assert tokens == [b"3", b"2", None]
    worked.send(("u1", "i1", 1.0), ("u2", "i1", 1.0), ("u3", "i1", 1.0), ("u4", "i1", 1.0))
    worked.work()
    more = [(f"u{n}", "i1", 1.0) for n in range(1, 5)]
    assert worked.digest() == expected(RATINGS + more)
    tokens = [worked.client.get(ShardKeys(worked.settings.namespace, shard).live_generation) for shard in range(3)]
    assert tokens == [b"3"] * 3
    monkeypatch.undo()
    assert worked.rebuild(shards=2).is_flipped
    assert worked.digest() == expected(RATINGS + more)


def test_forgotten_user_stays_away_and_a_new_rating_starts_anew(each_world):
    each_world.send(*RATINGS)
    each_world.forget("u3")
    each_world.send(("u3", "i1", 2.0))
    each_world.work()
    kept = [rating for rating in RATINGS if rating[0] != "u3"] + [("u3", "i1", 2.0)]
    assert each_world.digest() == expected(kept)
    assert each_world.rebuild(shards=2).comparison.is_equal
    assert each_world.digest() == expected(kept)


def test_redriven_event_is_applied_once_and_not_again_after_the_flip(each_world):
    (bad,) = each_world.send_raw((0, b'{"user_id": "u", "rating": 4}'))
    header = [("streamrec-redrive", f"{each_world.topic.topic_id}/0/{bad.offset}".encode())]
    value = b'{"user_id": "u", "item_id": "i1", "rating": 4}'
    each_world.send_raw((0, value), (1, value), headers=header)
    each_world.work()
    assert each_world.rebuild(shards=2).comparison.is_equal
    assert each_world.digest() == expected([("u", "i1", 4.0)])
    each_world.send_raw((2, value), headers=header)
    each_world.work()
    assert each_world.digest() == expected([("u", "i1", 4.0)])


def test_bad_records_are_not_sent_again_nor_counted_and_an_open_breaker_stays_open(world):
    world.send(*RATINGS)
    world.send_raw(*((0, b"rubbish") for _ in range(30)))
    world.work()
    assert len(world.letters) == 30
    world.send_raw(*((0, b"rubbish") for _ in range(20)))
    mark = BreakerMark(is_open=True, until=9999, why="a bad deploy").to_bytes()
    keys = ShardKeys(world.settings.namespace, 0)
    world.client.set(keys.breaker(world.topic.topic_id, 0), mark)
    assert world.rebuild(shards=2).is_flipped
    assert len(world.letters) == 30
    assert world.client.get(Generation(2, 2).keys(world.settings.namespace, 0).breaker(world.topic.topic_id, 0)) == mark


def test_log_with_a_stretch_that_was_resumed_over_is_rebuilt(world):
    world.send_raw(*((0, b"rubbish") for _ in range(300)))
    world.send(*RATINGS)
    with suppress(Exception):
        world.work()
    world.work(resumes=True)
    assert world.digest() == expected(RATINGS)
    assert world.rebuild().is_flipped
    assert world.digest() == expected(RATINGS)


def test_shards_that_a_crash_left_apart_are_brought_level_first(worked):
    worked.rebuild(shards=3)
    more = [(f"u{n}", "i7", 3.5) for n in range(23)]
    before = {key: worked.client.dump(key) for key in worked.client.keys(f"{{{worked.settings.namespace}:1}}:g2:*")}
    worked.send(*more)
    worked.work()
    for key in worked.client.keys(f"{{{worked.settings.namespace}:1}}:g2:*"):
        worked.client.delete(key)
    for key, value in before.items():
        worked.client.restore(key, 0, value)
    worked.age()
    assert worked.digest() != expected(RATINGS + more)
    assert worked.rebuild(shards=2).comparison.is_equal
    assert worked.digest() == expected(RATINGS + more)


def test_difference_is_named_and_not_flipped_until_it_is_accepted(worked):
    keys = ShardKeys(worked.settings.namespace, 0)
    worked.client.delete(keys.ledger("u5"))
    done = worked.rebuild()
    assert not done.is_flipped
    assert worked.live == Generation(1, 1)
    t = sum(user == "u5" for user, _, _ in RATINGS)
    assert (done.comparison.users, done.comparison.after.events - done.comparison.before.events) == (1, t)
    assert [(d.user_id, d.t_before, d.t_after) for d in done.comparison.named] == [("u5", 0, t)]
    assert worked.rebuild(accepts_difference=True).is_flipped
    assert worked.digest() == expected(RATINGS)


@pytest.mark.kafka
def test_log_that_lost_its_start_is_not_flipped_until_that_is_accepted(kafka_broker, make_world):
    world = make_world(kafka_broker)
    world.send(*[("u1", "i1", 4.0), ("u1", "i2", 2.0), ("u1", "i3", 1.0)])
    world.work()
    kept = world.digest()
    partition = shard_of("u1", PARTITIONS)
    with open_admin(world.settings) as admin:
        admin.delete_records({TopicPartition(world.topic.name, partition): 2})
    done = world.rebuild()
    assert (done.is_flipped, done.truncated) == (False, {partition: 2})
    assert (done.comparison.before.events, done.comparison.after.events) == (3, 1)
    assert world.digest() == kept
    assert world.rebuild(accepts_difference=True).is_flipped
    assert world.digest() == expected([("u1", "i3", 1.0)])


@pytest.mark.kafka
def test_shard_that_is_behind_what_the_log_has_lost_is_refused_naming_the_numbers(kafka_broker, make_world):
    world = make_world(kafka_broker)
    world.send(*[("u1", "i1", 4.0), ("u1", "i2", 2.0), ("u1", "i3", 1.0)])
    world.work()
    assert world.rebuild(shards=2).is_flipped
    partition = shard_of("u1", PARTITIONS)
    key = ShardKeys(world.settings.namespace, 1, 2).watermark(world.topic.topic_id, partition)
    world.client.set(key, "1 7 me 1")
    with open_admin(world.settings) as admin:
        admin.delete_records({TopicPartition(world.topic.name, partition): 2})
    with pytest.raises(EventsLost, match="starts at offset 2, but a shard has applied only up to 1: 1 events"):
        world.rebuild()
    assert world.live == Generation(2, 2)


def test_state_ahead_of_the_log_is_refused(worked):
    keys = ShardKeys(worked.settings.namespace, 0).watermark(worked.topic.topic_id, 1)
    worked.client.set(keys, "99999 7 me 1")
    with pytest.raises(LogTooShort, match="applied up to 99999"):
        worked.rebuild()


def test_namespace_without_a_state_is_refused_and_says_what_to_do(world):
    with pytest.raises(StreamrecError, match="worker --rebuild"):
        world.rebuild()


def test_generations_that_are_not_live_are_dropped_and_the_live_one_is_not(worked):
    worked.rebuild(shards=3)
    worked.rebuild(shards=2)
    kept = worked.digest()
    with pytest.raises(StreamrecError, match="generation 3 is the live one"):
        drop_generations(worked.client, worked.settings, 3)
    sizes = {number: len(worked.keys(number)) for number in (1, 2, 3)}
    told = []
    assert drop_generations(worked.client, worked.settings, 1, told.append) == {1: sizes[1]}
    assert told[-1] == sizes[1]
    assert drop_generations(worked.client, worked.settings) == {2: sizes[2]}
    assert [len(worked.keys(number)) for number in (1, 2, 3)] == [0, 0, sizes[3]]
    assert worked.digest() == kept
    assert drop_generations(worked.client, worked.settings) == {}


@pytest.mark.parametrize("accepts", [False, True])
def test_rebuild_whose_generation_is_dropped_ends_without_a_flip(worked, accepts):
    def on_stage(name, total):
        if name == "comparing":
            drop_generations(worked.client, worked.settings)
        return quiet(name, total)

    with pytest.raises(StreamrecError, match="nothing was flipped"):
        worked.rebuild(on_stage, accepts_difference=accepts)
    assert worked.live == Generation(1, 1)
    assert worked.digest() == expected(RATINGS)


def test_past_state_is_that_of_the_log_up_to_then_for_every_user(each_worked):
    each_worked.forget("u3")
    each_worked.send(*RATINGS[:100])
    each_worked.work()
    place = parse_until("120")
    into = f"{each_worked.settings.namespace}-past"
    assert build_past(each_worked.settings.model_copy(update={"shards": 2}), into, place, quiet) == {}
    there = each_worked.settings.model_copy(update={"namespace": into})
    found = dict(every_ledger(each_worked.client, there))
    users = {user for user, _, _ in RATINGS}
    at = {user: fold_user(each_worked.settings, user, place).ledger for user in users}
    assert {user: ledger.t for user, ledger in at.items() if ledger.t} == {u: ledger.t for u, ledger in found.items()}
    assert all(
        sorted(ledger.base["item"].tolist() + ledger.tail["item"].tolist())
        == sorted(at[user].base["item"].tolist() + at[user].tail["item"].tolist())
        for user, ledger in found.items()
    )
    assert each_worked.live == Generation(1, 1)


def test_past_state_of_a_time_has_what_was_stamped_before_it(world):
    stamps = [1000, 3000, 2000, 1500, 5000]
    value = b'{"user_id": "u", "item_id": "i%d", "rating": 4}'
    world.send_raw(*((0, value % n) for n in range(len(stamps))), times_ms=stamps)
    into = f"{world.settings.namespace}-past"
    moment = Until(time_ms=2500)
    build_past(world.settings, into, moment, quiet)
    (ledger,) = dict(every_ledger(world.client, world.settings.model_copy(update={"namespace": into}))).values()
    then = fold_user(world.settings, "u", moment).ledger
    assert ledger.t == then.t == 3
    assert ledger.tail["item"].tolist() == then.tail["item"].tolist()
    mark = world.client.get(ShardKeys(into, 0).watermark(world.topic.topic_id, 0))
    assert Watermark.parse(mark).next_offset == 5, "what was passed over at the end is behind it"


def test_past_state_is_no_workers_and_no_scorers(worked):
    into = f"{worked.settings.namespace}-past"
    build_past(worked.settings, into, parse_until("1:40"), quiet)
    there = World(worked.settings.model_copy(update={"namespace": into}))
    with pytest.raises(StateMismatch, match=r"made with as of 1:40, ratings 0\.5 to 5"):
        there.work()
    topic = worked.topic
    with pytest.raises(StateMismatch, match="as of 1:40"):
        StateReader(there.client, into, 1, topic.topic_id, PARTITIONS).check_scale(worked.settings.rating_scale)
    there.client.close()


def test_past_state_is_replaced_by_the_next_and_dropped_on_request(worked):
    into = f"{worked.settings.namespace}-past"
    there = worked.settings.model_copy(update={"namespace": into})
    sizes = []
    for offset in (150, 20):
        build_past(worked.settings, into, Until(offset=offset), quiet)
        sizes.append(sum(ledger.t for _, ledger in every_ledger(worked.client, there)))
    assert sizes[0] > sizes[1] == 21 * PARTITIONS
    assert drop_past(worked.client, into) > 0
    assert list(worked.client.scan_iter(f"{{{into}:*")) == []


def test_past_state_takes_no_namespace_that_is_in_use_or_no_name(worked):
    other = f"{worked.settings.namespace}-other"
    worked.client.set(f"{{{other}:0}}:generation", 1)
    with pytest.raises(StreamrecError, match="it is left alone"):
        build_past(worked.settings, other, Until(offset=1), quiet)
    assert worked.client.get(f"{{{other}:0}}:generation") == b"1"
    for name in (worked.settings.namespace, "no name"):
        with pytest.raises(ConfigurationError, match="--into must"):
            build_past(worked.settings, name, Until(offset=1), quiet)
