"""The digest of a state, beside the one computed from the log alone."""

from collections import Counter

import numpy as np
import pytest
import redis

from recommender.hashing import hash_id, shard_of
from recommender.ledger import LastEvent, Ledger, apply_event, pack
from schemas.codec import quantise
from schemas.errors import StoreUnavailable, StreamrecError
from services.admin.digest import state_digest
from services.lab.digest import expected_digest
from streams.store.clients import make_client
from streams.store.keys import ShardKeys, item_field, statistics_bucket

pytestmark = pytest.mark.integration

LOG = [(f"user:{i % 17}" if i % 3 else "é:user:\t", f"i{i * i % 41}", (i % 10 + 1) / 2) for i in range(2_000)]
ITEM_IDS = [f"i{i}" for i in range(41)]


def apply_log(client, settings, log, generation=1):
    """Leave in the store what a worker would have left."""
    ledgers, counts, sums = {}, Counter(), Counter()
    for offset, (user_id, item_id, rating) in enumerate(log):
        ledger = ledgers.get(user_id) or Ledger.empty(4)
        at = LastEvent(1, 0, offset)
        item, units = hash_id(item_id), quantise(rating)
        ledgers[user_id] = apply_event(ledger, item=item, rating=units, event=0, at=at, x=np.ones(4))
        shard = shard_of(user_id, settings.shards)
        counts[shard, item] += 1
        sums[shard, item] += units
    for user_id, ledger in ledgers.items():
        keys = ShardKeys(settings.namespace, shard_of(user_id, settings.shards), generation)
        client.set(keys.ledger(user_id), pack(ledger))
    for (shard, item), count in counts.items():
        keys = ShardKeys(settings.namespace, shard, generation)
        fields = {item_field(item) + b"c": count, item_field(item) + b"s": sums[shard, item]}
        client.hset(keys.statistics(statistics_bucket(item)), mapping=fields)
    for shard in range(settings.shards):
        client.set(ShardKeys(settings.namespace, shard).live_generation, generation)


@pytest.fixture
def client(settings):
    with make_client(settings) as connected:
        yield connected


def test_nothing_has_a_digest_of_zeros(client, settings):
    assert state_digest(client, settings, []) == ("0" * 64, "0" * 64, 0, 0)


@pytest.mark.parametrize("shards", [1, 3])
def test_state_has_the_digest_of_its_log_however_many_shards_it_is_in(client, settings, shards):
    sharded = settings.model_copy(update={"shards": shards})
    apply_log(client, sharded, LOG)
    found = state_digest(client, sharded, ITEM_IDS)
    expected = expected_digest(LOG)
    assert found == (expected.state, expected.statistics, 18, 2_000)


def test_only_the_live_generation_counts(client, settings):
    apply_log(client, settings, LOG[:50], generation=1)
    apply_log(client, settings, LOG, generation=2)
    assert state_digest(client, settings, ITEM_IDS).state == expected_digest(LOG).state


def test_namespace_of_another_deployment_is_not_read(client, settings):
    apply_log(client, settings.model_copy(update={"namespace": f"{settings.namespace}.x"}), LOG)
    assert state_digest(client, settings, ITEM_IDS).users == 0


def test_one_event_more_is_another_digest(client, settings):
    apply_log(client, settings, LOG[:-1])
    assert state_digest(client, settings, ITEM_IDS).state != expected_digest(LOG).state


def test_item_that_is_not_given_is_named_by_its_hash(client, settings):
    apply_log(client, settings, [("u", "unheard of", 4.0)])
    with pytest.raises(StreamrecError, match=rf"user 'u' rated the item with hash {hash_id('unheard of')}"):
        state_digest(client, settings, ITEM_IDS)


def test_store_that_does_not_answer_is_said_to(settings):
    gone = redis.Redis(port=1, retry=None)
    with pytest.raises(StoreUnavailable):
        state_digest(gone, settings, [])
