"""A ledger in words and numbers."""

import numpy as np

from recommender.hashing import hash_id
from recommender.ledger import LastEvent, Ledger, apply_event
from schemas.events import ModelRelease
from services.admin.state import describe_ledger, judge_mean
from streams.store.keys import topic_hash

A, B = hash_id("a"), hash_id("b")
RELEASE = ModelRelease(name="items", version="2", kind="embedding", uri="u", sha256="ab" * 32)


def ledger_of(*ratings, embedding_id=bytes(8), topic="t", x=None):
    ledger = Ledger.empty(0 if x is None else len(x), embedding_id=embedding_id)
    for offset, (item, rating) in enumerate(ratings):
        at = LastEvent(topic_hash(topic), 2, offset)
        ledger = apply_event(ledger, item=item, rating=rating, event=0, at=at, x=x)
    return ledger


def describe(ledger, topic_id="t"):
    return describe_ledger(
        "u", ledger, topic_id=topic_id, mean_is="", item_ids={A: "a"}, titles={"a": "Alien"}, truncated={1: 5}
    )


def test_entries_and_newest_are_newest_first_with_titles_where_known():
    state = describe(ledger_of((A, 10000), (B, 25000), (A, 50000)))
    assert [(e.item_id, e.title, e.count, e.last_t, e.rating_sum) for e in state.entries] == [
        ("a", "Alien", 2, 2, 6.0),
        (None, "", 1, 1, 2.5),
    ]
    assert [(e.t, e.item_id, e.rating) for e in state.newest] == [(2, "a", 5.0), (1, None, 2.5), (0, "a", 1.0)]
    assert state.entries[1].item_hash == f"{B:016x}"
    assert (state.t, state.partition, state.offset, state.truncated) == (3, 2, 2, {1: 5})


def test_newest_of_a_long_history_have_the_t_they_were_given_at():
    state = describe(ledger_of(*[(A, 10000 + i) for i in range(70)]))
    assert [e.t for e in state.newest] == list(range(69, 32, -1))
    assert state.newest[0].rating == 1.0069


def test_position_in_a_topic_that_was_made_again_is_said():
    ledger = ledger_of((A, 10000))
    assert describe(ledger).is_of_this_topic
    assert not describe(ledger, "another").is_of_this_topic


def test_mean_is_fresh_only_of_the_active_release_and_with_every_item():
    active = bytes.fromhex("ab" * 8)
    x = np.ones(2)
    assert judge_mean(ledger_of((A, 10000), embedding_id=active, x=x), RELEASE) == "of items@2, fresh"
    assert "without 1 ratings" in judge_mean(ledger_of((A, 10000), embedding_id=active), RELEASE)
    assert "of release 0101010101010101" in judge_mean(ledger_of(embedding_id=bytes([1] * 8)), RELEASE)
    assert judge_mean(ledger_of(), RELEASE).startswith("none yet")
    assert judge_mean(ledger_of(), None) == "none: no embedding is active"
