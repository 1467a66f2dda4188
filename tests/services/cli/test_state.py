"""`streamrec state`, on real servers: a log, and the state that a worker makes of it."""

import json
from datetime import UTC, datetime

import pandas as pd
import pytest

from recommender.hashing import hash_id
from recommender.ledger import LastEvent, Ledger, apply_event, pack
from schemas.codec import quantise
from schemas.events import Item
from services.admin.bus import open_admin, produce_all
from services.admin.catalogue import publish_items
from services.lab.digest import expected_digest
from streams.bus.topics import require_topic
from streams.store.clients import make_client
from streams.store.keys import ShardKeys, item_field, statistics_bucket, topic_hash

pytestmark = pytest.mark.integration

LOG = [("u", "heat", 4.0), ("v", "heat", 1.0), ("u", "alien", 2.5), ("u", "heat", 5.0)]
HEAT = Item(item_id="heat", title="Heat")


@pytest.fixture
def logged(topics):
    """The log, in one partition and with a bad record before the last one, and the state that it leads to."""
    publish_items(topics, [HEAT, Item(item_id="alien", title="Alien")])
    values = [json.dumps({"user_id": u, "item_id": i, "rating": r}).encode() for u, i, r in LOG]
    values.insert(3, b"rubbish")
    offsets = [done.offset for done in produce_all(topics, topics.topic("ratings"), [(b"k", v) for v in values])]
    assert offsets == [0, 1, 2, 3, 4]
    with open_admin(topics) as admin:
        number = topic_hash(require_topic(admin, topics.topic("ratings")).topic_id)
    ledgers, keys = {}, ShardKeys(topics.namespace, 0)
    with make_client(topics) as client:
        for offset, (user, item, rating) in zip((0, 1, 2, 4), LOG, strict=True):
            ledgers[user] = apply_event(
                ledgers.get(user) or Ledger.empty(0),
                item=hash_id(item),
                rating=quantise(rating),
                event=0,
                at=LastEvent(number, 1, offset),
                x=None,
            )
            client.set(keys.ledger(user), pack(ledgers[user]))
            bucket, field = keys.statistics(statistics_bucket(hash_id(item))), item_field(hash_id(item))
            client.hincrby(bucket, field + b"c", 1)
            client.hincrby(bucket, field + b"s", quantise(rating))
    return topics


def shown(run, settings, *tokens):
    outcome = run("state", "show", *tokens, "--json", settings=settings)
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_user_is_shown_with_titles_position_and_newest_ratings(run, logged):
    outcome = run("state", "show", "u", settings=logged)
    assert outcome.code == 0, outcome.err
    for word in ("user u", "2 items rated", "Heat", "Alien", "4.50", "offset 4", "none: no embedding is active"):
        assert word in outcome.out


def test_user_as_json_has_everything(run, logged):
    state = shown(run, logged, "u")
    assert (state["t"], state["partition"], state["offset"]) == (3, 1, 4)
    assert state["is_of_this_topic"]
    assert [(e["item_id"], e["title"], e["count"], e["last_t"], e["rating_sum"]) for e in state["entries"]] == [
        ("heat", "Heat", 2, 2, 9.0),
        ("alien", "Alien", 1, 1, 2.5),
    ]
    assert [e["rating"] for e in state["newest"]] == [5.0, 2.5, 4.0]


def test_user_nothing_is_known_of_is_an_error(run, logged):
    outcome = run("state", "show", "nobody", settings=logged)
    assert outcome.code == 1
    assert "nothing is known of user 'nobody'" in outcome.err


def test_user_is_shown_as_at_an_offset_which_counts_itself(run, logged):
    assert [shown(run, logged, "u", "--at", str(offset))["t"] for offset in (0, 1, 2, 3, 4, 99)] == [1, 1, 2, 2, 3, 3]
    late = shown(run, logged, "u", "--at", "99")
    now = shown(run, logged, "u")
    assert [late[name] for name in ("t", "offset", "entries", "newest")] == [
        now[name] for name in ("t", "offset", "entries", "newest")
    ]


def test_moment_before_the_first_rating_is_an_error(run, logged):
    outcome = run("state", "show", "v", "--at", "0", settings=logged)
    assert outcome.code == 1
    assert "at that moment" in outcome.err


def test_moment_of_one_partition_leaves_the_others_out(run, logged):
    (partition,) = {shown(run, logged, "u", "--at", "99")["partition"]}
    assert shown(run, logged, "u", "--at", f"{partition}:2")["t"] == 2
    assert run("state", "show", "u", "--at", f"{(partition + 1) % 4}:99", settings=logged).code == 1
    assert run("state", "show", "u", "--at", "9:1", settings=logged).code == 2


def test_moment_of_a_time_has_what_was_said_before_it(run, logged):
    tomorrow = datetime.now(UTC).replace(year=datetime.now(UTC).year + 1).isoformat()
    assert shown(run, logged, "u", "--at", tomorrow)["t"] == 3
    assert run("state", "show", "u", "--at", "2001-01-01", settings=logged).code == 1


def test_text_that_is_no_moment_is_wrong_usage(run, logged):
    outcome = run("state", "show", "u", "--at", "soon", settings=logged)
    assert outcome.code == 2
    assert "PARTITION:OFFSET" in (outcome.err + outcome.out).replace("\n", " ")


def test_digests_are_those_of_the_log(run, logged):
    outcome = run("state", "digest", "--json", settings=logged)
    expected = expected_digest(LOG)
    assert json.loads(outcome.out) == {
        "state": expected.state,
        "statistics": expected.statistics,
        "users": 2,
        "events": 4,
    }
    text = run("state", "digest", settings=logged).out
    assert expected.state in text
    assert "2 users, 4 ratings" in text


def test_item_that_the_catalogue_never_had_is_taken_from_the_log(run, logged):
    produce_all(logged, logged.topic("ratings"), [(b"k", b'{"user_id":"w","item_id":"new","rating":3}')])
    keys = ShardKeys(logged.namespace, 0)
    ledger = apply_event(Ledger.empty(0), item=hash_id("new"), rating=30000, event=0, at=LastEvent(1, 0, 0), x=None)
    with make_client(logged) as client:
        client.set(keys.ledger("w"), pack(ledger))
    refused = run("state", "digest", settings=logged)
    assert refused.code == 1
    assert "--from-log" in refused.err
    assert json.loads(run("state", "digest", "--from-log", "--json", settings=logged).out)["users"] == 3


def test_state_is_exported_for_pandas(run, logged, tmp_path):
    outcome = run("state", "export", "--out", "entries.parquet", settings=logged)
    assert outcome.code == 0, outcome.err
    assert "3 rows in entries.parquet, 2 users in users.parquet" in outcome.out
    found = pd.read_parquet(tmp_path / "entries.parquet").sort_values(["user_id", "item_id"])
    assert found.to_numpy().tolist() == [["u", "alien", 1, 1, 2.5], ["u", "heat", 2, 2, 9.0], ["v", "heat", 1, 0, 1.0]]
    assert sorted(pd.read_parquet(tmp_path / "users.parquet").t) == [1, 3]
