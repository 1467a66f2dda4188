"""Every ledger of a store, once."""

from unittest.mock import patch

import pytest

from recommender.hashing import shard_of
from recommender.ledger import Ledger, pack
from services.admin import ledgers as module
from services.admin.ledgers import every_ledger
from streams.store.clients import make_client
from streams.store.keys import ShardKeys

pytestmark = pytest.mark.integration


def put(client, settings, users, generation):
    for shard in range(settings.shards):
        client.set(ShardKeys(settings.namespace, shard).live_generation, 2)
    for user_id in users:
        keys = ShardKeys(settings.namespace, shard_of(user_id, settings.shards), generation)
        client.set(keys.ledger(user_id), pack(Ledger.empty(0, rev=generation)))


@pytest.mark.parametrize("batch", [1, 7, 20_000])
def test_every_user_of_the_live_generation_comes_once(store, make_settings, batch):
    settings = make_settings(redis_url=store.url, shards=3)
    users = [f"é:user:{number}" for number in range(50)]
    with make_client(settings) as client, patch.object(module, "_USERS_A_BATCH", batch):
        put(client, settings, users, 2)
        put(client, settings, ["gone"], 1)
        found = [(user_id, ledger.rev) for user_id, ledger in every_ledger(client, settings)]
    assert sorted(found) == [(user_id, 2) for user_id in sorted(users)]


def test_key_that_scan_names_twice_comes_once(store, make_settings):
    settings = make_settings(redis_url=store.url)
    with make_client(settings) as client, patch.object(module, "_USERS_A_BATCH", 2):
        put(client, settings, ["a", "b", "c"], 2)
        keys = list(client.scan_iter(match=f"{{{settings.namespace}:0}}:g2:user:*"))
        with patch.object(client, "scan_iter", lambda **_: iter([*keys, *keys, keys[0]])):
            found = [user_id for user_id, _ in every_ledger(client, settings)]
    assert sorted(found) == ["a", "b", "c"]
