import numpy as np
import pytest

from recommender.hashing import hash_id
from schemas.errors import GenerationChanged, LedgerError
from services.scorer.state import MOST_LOOKS, StateSource
from streams.store.reader import ShardView, StateSnapshot
from tests.services.scorer.sights import make_catalogue, make_ledger


class FakeReader:
    """Two shards; users whose name says so have a ledger that cannot be read."""

    def __init__(self):
        self.views = {0: ShardView({0: 10, 1: 4}, 1.0, 7), 1: ShardView({0: 12, 1: 3}, 1.0, 2)}
        self.partitions = 4
        self.reads = 0

    def read(self, user_ids, **_):
        self.reads += 1
        for user_id in user_ids:
            if user_id.startswith("broken"):
                raise LedgerError(f"the ledger of {user_id}")
        ledgers = {user_id: make_ledger(("a", 4)) for user_id in user_ids}
        return StateSnapshot(ledgers, dict(self.views), dict.fromkeys(user_ids, 0))


class FakeFollower:
    def __init__(self):
        self.counts, self.sums, self.sequences = {}, {}, {0: -1, 1: -1}
        self.next_sequences = {0: 7, 1: 2}
        self.refusals = 0
        self.forgotten = 0

    def follow(self, up_to):
        if self.refusals:
            self.refusals -= 1
            raise GenerationChanged("flipped")
        self.followed_to = up_to
        self.sequences = dict(self.next_sequences)
        return True

    def sequence(self, shard):
        return self.sequences[shard]

    def reach(self, shard):
        return self.sequences[shard]

    def take_changed(self):
        return set(self.counts)

    def forget(self):
        self.forgotten += 1


@pytest.fixture
def reader():
    return FakeReader()


@pytest.fixture
def follower():
    return FakeFollower()


@pytest.fixture
def source(reader, follower):
    return StateSource(reader, follower, "topic-id")


def test_the_statistics_reach_to_the_lowest_watermark_of_the_shards(source):
    assert source.look(["u"], make_catalogue()).statistics_to == {0: 10, 1: 3}


def test_statistics_that_lag_keep_the_watermarks_known_last(source, reader, follower):
    source.look(["u"], make_catalogue())
    reader.views[0] = ShardView({0: 20, 1: 9}, 1.0, 9)
    assert source.look(["u"], make_catalogue()).statistics_to == {0: 10, 1: 3}
    follower.next_sequences[0] = 9
    assert source.look(["u"], make_catalogue()).statistics_to == {0: 12, 1: 3}


def test_the_statistics_are_followed_to_where_the_state_was_and_no_further(source, follower):
    source.look(["u"], make_catalogue())
    assert follower.followed_to == {0: 7, 1: 2}


def test_a_state_older_than_what_was_loaded_of_the_statistics_is_looked_at_again(source, reader, follower, monkeypatch):
    views = [dict(reader.views), {**reader.views, 0: ShardView({0: 15, 1: 5}, 1.0, 9)}]
    monkeypatch.setattr(reader, "views", None)
    original = reader.read

    def read(user_ids, **how):
        reader.views = views.pop(0)
        return original(user_ids, **how)

    monkeypatch.setattr(reader, "read", read)
    follower.next_sequences = {0: 9, 1: 2}
    sight = source.look(["u"], make_catalogue())
    assert (sight.state.shards[0].watermarks, sight.statistics_to) == ({0: 15, 1: 5}, {0: 12, 1: 3})


def test_a_state_that_stays_behind_the_statistics_is_not_looked_at_for_ever(source, reader, follower):
    follower.next_sequences = {0: 99, 1: 2}
    source.look(["u"], make_catalogue())
    assert reader.reads == MOST_LOOKS


def test_the_statistics_lie_on_the_rows_of_the_catalogue(source, follower):
    follower.counts, follower.sums = {hash_id("b"): 2}, {hash_id("b"): 70000}
    view = source.look(["u"], make_catalogue()).statistics
    assert view.counts.tolist() == [0, 2, 0, 0]
    assert np.array_equal(view.sums, [0, 70000, 0, 0])


def test_a_flipped_generation_is_read_again(source, reader, follower):
    follower.refusals = 2
    source.look(["u"], make_catalogue())
    assert reader.reads == 3


def test_one_unreadable_ledger_leaves_the_others_readable(source):
    sight = source.look(["u", "broken one", "v", "broken one"], make_catalogue())
    assert set(sight.state.ledgers) == {"u", "v"}
    assert sight.unreadable == {"broken one": "the ledger of broken one"}


def test_statistics_are_loaded_anew_when_the_store_was_emptied(source, reader, follower):
    source.look(["u"], make_catalogue())
    assert follower.forgotten == 0
    reader.views[0] = ShardView({}, None, 1)
    follower.next_sequences[0] = 1
    source.look(["u"], make_catalogue())
    assert follower.forgotten == 1


def test_a_glance_shows_the_watermarks_of_every_shard(source):
    assert {shard: view.watermarks for shard, view in source.glance().items()} == {0: {0: 10, 1: 4}, 1: {0: 12, 1: 3}}
