"""What readers see of the state, and item statistics counted exactly once."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from recommender.hashing import shard_of
from recommender.ledger.batch import EmbeddedItems, EventBatch, fold_batch
from recommender.ledger.layout import EVENT
from schemas.errors import StateMismatch, StoreUnavailable
from streams.store import statistics as statistics_module
from streams.store.clients import make_async_client, make_client
from streams.store.keys import ShardKeys
from streams.store.reader import ShardView, StateReader, StateSnapshot, merge_watermarks
from streams.store.statistics import StatisticsFollower
from streams.store.writer import DELTA, DELTAS_KEPT, StateWriter

pytestmark = pytest.mark.integration

NO_ITEMS = EmbeddedItems(bytes(8), np.empty(0, np.uint64), np.empty((0, 0)))
TOPIC = "topic-1"
MOST_LOOKS = 9


class State:
    """A state with one writer, driven from blocking tests."""

    def __init__(self, settings, shards=1):
        self.settings = settings
        self.client = make_client(settings)
        self.shards = shards
        self.next = [0] * shards
        self.builds = None

    def rate(self, user: str, item: int, rating: int, *, offset: int = 0) -> None:
        """Apply one event in the user's shard and move that shard's watermark by one."""
        shard = shard_of(user, self.shards)

        async def apply():
            client = make_async_client(self.settings)
            writer = StateWriter(client, self.settings.namespace, self.shards, "scale", builds=self.builds)
            claim, start = await writer.assign(shard, TOPIC, 0, "me", 0)
            stored = (await writer.read(claim, [user], [1], NO_ITEMS)).ledgers
            events = EventBatch(
                np.zeros(1, np.int64), np.array([(item, rating, 0)], EVENT), np.array([offset or start], np.uint64)
            )
            folded = fold_batch(events, stored, np.ones(1, np.uint64), 1, 0, NO_ITEMS)
            delta = np.array([(item, 1, rating)], DELTA)
            await writer.commit(claim, start, start + 1, [user], folded.writes, delta)
            await client.aclose()

        asyncio.run(apply())

    def reader(self) -> StateReader:
        return BoundedReader(self.client, self.settings.namespace, self.shards, TOPIC, 2)


class BoundedReader(StateReader):
    """A reader that fails where it would look for the live generation for ever."""

    looks = 0

    def read(self, user_ids: Sequence[str], *, all_shards: bool = False) -> StateSnapshot:
        self.looks = 0
        return super().read(user_ids, all_shards=all_shards)

    def _look_live(self) -> None:
        self.looks += 1
        assert self.looks < MOST_LOOKS, f"after {self.looks} looks in one read {self._live} is still not what is there"
        super()._look_live()


@pytest.fixture
def make_state(store, make_settings):
    made = []

    def make(shards=1):
        made.append(State(make_settings(redis_url=store.url), shards))
        return made[-1]

    yield make
    for state in made:
        state.client.close()


def test_reader_sees_ledger_watermark_and_newest_delta_together(make_state):
    state = make_state()
    state.rate("u", 5, 30000)
    state.rate("u", 6, 30000)
    snapshot = state.reader().read(["u", "nobody", "u"])
    assert snapshot.ledgers["u"].t == 2
    assert snapshot.ledgers["nobody"] is None
    view = snapshot.view("u")
    assert (view.watermarks, view.sequence) == ({0: 2}, 2)
    assert 0 <= view.age_ms < 60_000


def test_state_not_made_yet_has_no_watermark_and_no_age(make_state):
    view = make_state().reader().read(["u"]).view("u")
    assert view == ShardView({}, None, 0)


def test_users_are_found_in_their_shards(make_state):
    state = make_state(3)
    users = [f"u{n}" for n in range(9)]
    for user in users:
        state.rate(user, 5, 10000)
    snapshot = state.reader().read(users, all_shards=True)
    assert [snapshot.ledgers[user].t for user in users] == [1] * 9
    assert set(snapshot.shards) == {0, 1, 2}
    assert {user: snapshot.shard_of[user] for user in users} == {user: shard_of(user, 3) for user in users}


def test_reader_follows_a_flip_of_the_generation(make_state):
    state = make_state()
    state.rate("u", 5, 30000)
    reader = state.reader()
    assert reader.read(["u"]).ledgers["u"].t == 1
    root = ShardKeys(state.settings.namespace, 0, 1)
    state.client.set(root.live_generation, 2)
    assert reader.read(["u"]).ledgers["u"] is None
    assert reader.keys(0).generation == 2


def move(state, number, shards, users, *, flip=True):
    """Leave what a rebuild of these users' ratings leaves: a generation in other shards, live from shard 0 on."""
    namespace = state.settings.namespace
    made = State(state.settings, shards)
    made.builds = number
    state.client.set(ShardKeys(namespace, 0, number).shards, shards)
    state.client.set(ShardKeys(namespace, 0).building, number)
    for user in users:
        made.rate(user, 5, 10000)
    if flip:
        state.client.set(ShardKeys(namespace, 0).live_generation, number)
    made.client.close()


def test_reader_follows_a_flip_into_another_number_of_shards_at_its_next_look(make_state):
    state = make_state()
    users = [f"u{n}" for n in range(9)]
    for user in users:
        state.rate(user, 5, 10000)
    reader = state.reader()
    follower = StatisticsFollower(state.client, reader)
    for number, shards in ((2, 3), (3, 2), (4, 1)):
        move(state, number, shards, users * number, flip=False)
        before = reader.read(users, all_shards=True)
        assert [before.ledgers[user].t for user in users] == [number - 1] * 9
        state.client.set(ShardKeys(state.settings.namespace, 0).live_generation, number)
        snapshot = reader.read(users, all_shards=True)
        assert [snapshot.ledgers[user].t for user in users] == [number] * 9
        assert sorted(snapshot.shards) == list(range(shards))
        assert reader.read(["u1"]).ledgers["u1"].t == number
        assert follower.follow()
        assert follower.counts == {5: 9 * number}
        assert follower.take_changed() == {5}
        assert all(follower.sequence(shard) == view.sequence for shard, view in snapshot.shards.items())


def test_reader_looks_at_shard_0_also_for_a_user_of_another(make_state):
    state = make_state(3)
    user = next(f"u{n}" for n in range(99) if shard_of(f"u{n}", 3) == 2)
    state.rate(user, 5, 10000)
    reader = state.reader()
    assert reader.read([user]).ledgers[user].t == 1
    move(state, 2, 3, [user] * 4)
    assert reader.read([user]).ledgers[user].t == 4


def test_statistics_taken_in_of_another_generation_are_not_said_to_be_of_this_one(make_state):
    state = make_state()
    state.rate("u", 5, 10000)
    reader = state.reader()
    follower = StatisticsFollower(state.client, reader)
    follower.follow()
    assert follower.sequence(0) == 1
    move(state, 2, 2, ["u"])
    reader.read(["u"])
    assert (follower.sequence(0), follower.sequence(1)) == (-1, -1)


def test_store_that_was_emptied_after_a_flip_is_read_as_a_state_not_made_yet(make_state):
    state = make_state()
    state.rate("u", 5, 10000)
    reader = state.reader()
    move(state, 2, 3, ["u"])
    assert reader.read(["u"]).ledgers["u"].t == 1
    state.client.delete(*state.client.keys(f"{{{state.settings.namespace}:*"))
    snapshot = reader.read(["u"], all_shards=True)
    assert (snapshot.ledgers, sorted(snapshot.shards)) == ({"u": None}, [0])


def test_state_that_a_rebuild_made_says_its_number_of_shards_itself(make_state):
    state = make_state()
    state.rate("u", 5, 10000)
    move(state, 2, 3, ["u"])
    reader = state.reader()
    reader.check_scale("scale")
    assert reader.shards == 3
    with pytest.raises(StateMismatch, match=r"made with scale, 3 shard\(s\), the settings say another, 3 shard"):
        reader.check_scale("another")


def test_store_that_is_away_is_said_so(make_settings):
    client = make_client(make_settings(redis_url="redis://127.0.0.1:1/0"))
    with pytest.raises(StoreUnavailable):
        StateReader(client, "n", 1, TOPIC, 1).read(["u"])


def test_lowest_watermark_of_several_shards_counts():
    views = {0: ShardView({0: 5, 1: 2}, 1.0, 0), 1: ShardView({0: 3}, 1.0, 0)}
    assert merge_watermarks(views) == {0: 3, 1: 2}


@pytest.mark.parametrize("shards", [1, 2])
def test_statistics_are_loaded_then_followed(make_state, shards):
    state = make_state(shards)
    state.rate("u", 5, 30000)
    state.rate("v", 5, 10000)
    reader = state.reader()
    follower = StatisticsFollower(state.client, reader)
    assert follower.follow()
    assert (follower.counts, follower.sums) == ({5: 2}, {5: 40000})
    assert follower.take_changed() == {5}
    assert not follower.follow()
    state.rate("v", 6, 20000)
    assert follower.follow()
    assert (follower.counts, follower.sums) == ({5: 2, 6: 1}, {5: 40000, 6: 20000})
    assert follower.take_changed() == {6}
    newest = {shard: view.sequence for shard, view in reader.read([], all_shards=True).shards.items()}
    assert {shard: follower.sequence(shard) for shard in newest} == newest


def test_delta_that_came_while_loading_is_counted_once(make_state, monkeypatch):
    state = make_state()
    state.rate("u", 5, 30000)
    follower = StatisticsFollower(state.client, state.reader())
    original = statistics_module.call_script
    calls = 0

    def call(*arguments):
        nonlocal calls
        calls += 1
        if calls == 3:
            # Bucket 5 was read already, the bucket of 1,000 was not.
            state.rate("u", 5, 10000)
            state.rate("u", 1000, 20000)
        return original(*arguments)

    monkeypatch.setattr(statistics_module, "call_script", call)
    follower.follow()
    assert (follower.counts, follower.sums) == ({5: 2, 1000: 1}, {5: 40000, 1000: 20000})


def test_statistics_are_followed_no_further_than_asked(make_state):
    state = make_state()
    state.rate("u", 5, 30000)
    follower = StatisticsFollower(state.client, state.reader())
    follower.follow()
    for item in (6, 7, 8):
        state.rate("u", item, 10000)
    for last, counts in (
        (1, {5: 1}),
        (3, {5: 1, 6: 1, 7: 1}),
        (2, {5: 1, 6: 1, 7: 1}),
        (None, dict.fromkeys(range(5, 9), 1)),
    ):
        follower.follow(None if last is None else {0: last})
        assert follower.counts == counts
        assert follower.reach(0) == follower.sequence(0) == len(counts)


def test_what_was_loaded_beyond_what_was_asked_is_told(make_state, monkeypatch):
    state = make_state()
    state.rate("u", 5, 30000)
    follower = StatisticsFollower(state.client, state.reader())
    original, calls = statistics_module.call_script, []

    def call(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            state.rate("u", 1000, 20000)
        return original(*arguments)

    monkeypatch.setattr(statistics_module, "call_script", call)
    follower.follow({0: 1})
    assert (follower.sequence(0), follower.reach(0)) == (1, 2)
    follower.follow({0: 2})
    assert (follower.sequence(0), follower.counts) == (2, {5: 1, 1000: 1})


def test_stream_cut_before_it_was_read_is_loaded_anew(make_state):
    state = make_state()
    state.rate("u", 5, 30000)
    follower = StatisticsFollower(state.client, state.reader())
    follower.follow()
    for _ in range(3):
        state.rate("u", 5, 10000)
    state.client.xtrim(ShardKeys(state.settings.namespace, 0).deltas, maxlen=1, approximate=False)
    follower.follow()
    follower.follow()
    assert (follower.counts, follower.sums) == ({5: 4}, {5: 60000})


def test_store_that_came_back_without_its_newest_writes_is_loaded_anew_though_its_numbers_went_on(make_state):
    state = make_state()
    state.rate("u", 1, 10000)
    follower = StatisticsFollower(state.client, state.reader())
    root = ShardKeys(state.settings.namespace, 0).root
    kept = {key: state.client.dump(key) for key in state.client.keys(f"{root}*")}
    state.rate("u", 2, 10000)
    state.rate("u", 3, 10000)
    follower.follow()
    state.client.delete(*state.client.keys(f"{root}*"))
    for key, value in kept.items():
        state.client.restore(key, 0, value)
    for item in (4, 5, 6):
        state.rate("u", item, 10000)
    follower.follow()
    assert follower.counts == {1: 1, 4: 1, 5: 1, 6: 1}


def test_state_of_another_scale_is_refused_naming_both(make_state):
    state = make_state()
    state.rate("u", 1, 10000)
    state.reader().check_scale("scale")
    with pytest.raises(StateMismatch, match=r"made with scale, 1 shard\(s\), the settings say another, 1 shard"):
        state.reader().check_scale("another")


def test_forgotten_statistics_are_loaded_anew(make_state):
    state = make_state()
    state.rate("u", 5, 30000)
    follower = StatisticsFollower(state.client, state.reader())
    follower.follow()
    state.client.delete(*state.client.keys(f"{{{state.settings.namespace}:0}}*"))
    follower.forget()
    assert follower.follow()
    assert follower.counts == {}


def test_delta_stream_is_capped(make_state):
    state = make_state()
    state.rate("u", 5, 30000)
    key = ShardKeys(state.settings.namespace, 0).deltas
    for n in range(2, DELTAS_KEPT + 300):
        state.client.xadd(key, {"d": b""}, id=f"{n}-0", maxlen=DELTAS_KEPT, approximate=True)
    assert state.client.xlen(key) <= DELTAS_KEPT + 128
