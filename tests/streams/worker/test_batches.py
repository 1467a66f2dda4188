"""From fetched records to what each shard commits."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recommender.hashing import hash_id, shard_of
from recommender.ledger import EVENT
from recommender.ledger.batch import EventBatch
from schemas.codec import RatingDecoder
from streams.worker.batches import DecodedEvent, cut_events, decode_records, statistics_deltas
from tests.streams.worker.memory import MemoryRecord, rating

DECODER = RatingDecoder(0.5, 5.0)


def test_bad_records_are_told_apart_with_their_reason():
    events, bad = decode_records([rating(0), MemoryRecord(1, b"{"), MemoryRecord(2, None), rating(3)], DECODER, 1)
    assert [event.offset for event in events] == [0, 3]
    assert [(fault.record.offset, fault.reason) for fault in bad] == [(1, "not_json"), (2, "empty_value")]


def test_event_is_reduced_to_hashes_and_integers():
    (event,), _ = decode_records([rating(7, "u", "i", 3.5, "e")], DECODER, 5)
    assert event == DecodedEvent(7, "u", shard_of("u", 5), hash_id("i"), 35000, hash_id("e"))


def event(offset: int, user: str, shard: int = 0) -> DecodedEvent:
    return DecodedEvent(offset, user, shard, 1, 10000, 0)


def test_batch_of_few_users_is_one_cut_to_its_end():
    (cut,) = cut_events([event(3, "a"), event(4, "b"), event(5, "a")], 9, [0])
    assert cut.end == 9
    assert cut.parts[0].user_ids == ["a", "b"]
    assert cut.parts[0].events.users.tolist() == [0, 1, 0]
    assert cut.parts[0].events.offsets.tolist() == [3, 4, 5]


def test_one_user_too_many_begins_a_new_cut_at_its_offset():
    cuts = list(cut_events([event(0, "a"), event(1, "b"), event(2, "a"), event(3, "c")], 4, [0], most=2))
    assert [(cut.end, cut.parts[0].user_ids) for cut in cuts] == [(3, ["a", "b"]), (4, ["c"])]


def test_events_below_a_shards_watermark_are_left_out_for_that_shard_only():
    (cut,) = cut_events([event(0, "a", 0), event(1, "b", 1), event(2, "a", 0)], 3, [2, 0])
    assert {shard: part.events.offsets.tolist() for shard, part in cut.parts.items()} == {0: [2], 1: [1]}


def test_batch_without_events_still_has_an_end():
    (cut,) = cut_events([], 12, [4])
    assert (cut.end, cut.parts) == (12, {})


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), max_size=60), st.integers(1, 3))
def test_cuts_keep_every_event_once_in_order_and_within_the_bound(pairs, most):
    events = [event(offset, f"u{user}", shard) for offset, (user, shard) in enumerate(pairs)]
    cuts = list(cut_events(events, len(events), [0, 0], most))
    assert cuts[-1].end == len(events)
    seen = []
    previous = 0
    for cut in cuts:
        for part in cut.parts.values():
            assert len(part.user_ids) <= most
            offsets = part.events.offsets.tolist()
            assert offsets == sorted(offsets)
            assert all(previous <= offset < cut.end for offset in offsets)
            seen += offsets
        previous = cut.end
    assert sorted(seen) == list(range(len(events)))


def test_redriven_events_that_were_applied_are_left_out_and_of_repeats_all_but_the_first():
    names = {0: b"T/0/1", 1: b"T/0/2", 3: b"T/0/2", 4: b"T/0/3"}
    users = ["a", "b", "c", "b", "d"]
    (cut,) = cut_events([DecodedEvent(n, users[n], 0, n, 1, 0, names.get(n)) for n in range(5)], 5, [0])
    part = cut.parts[0].without({b"T/0/1"})
    assert part.user_ids == ["b", "c", "d"]
    assert part.events.users.tolist() == [0, 1, 2]
    assert part.events.offsets.tolist() == part.events.records["item"].tolist() == [1, 2, 4]
    assert part.redriven == {0: b"T/0/2", 2: b"T/0/3"}
    assert part.without(()) is part


def part_of(*events):
    """Return the part of redriven events, each a user and the number of the dead letter."""
    decoded = [DecodedEvent(n, user, 0, n, 1, 0, b"T/0/%d" % name) for n, (user, name) in enumerate(events)]
    (cut,) = cut_events(decoded, len(decoded), [0])
    return cut.parts[0]


def test_dead_letters_below_a_cut_keep_their_marks():
    part = part_of(("u", 1), ("a", 2), ("u", 3))
    kept = part.skip({"u": 1})
    assert (kept.user_ids, kept.events.offsets.tolist()) == (["a", "u"], [1, 2])
    assert sorted(kept.marks) == [b"T/0/1", b"T/0/2", b"T/0/3"]
    gone = kept.skip({"u": 3})
    assert (gone.user_ids, gone.marks) == (["a"], [b"T/0/2", b"T/0/1", b"T/0/3"])
    assert gone.skip({"u": 3}) is gone


def test_mark_below_a_cut_that_was_applied_meanwhile_is_left_out():
    kept = part_of(("u", 1), ("a", 2), ("u", 3)).skip({"u": 3})
    assert kept.without({b"T/0/1"}).marks == [b"T/0/2", b"T/0/3"]
    assert kept.without({b"T/0/9"}) is kept


def test_dead_letter_sent_again_above_a_cut_repeats_the_one_below_it():
    kept = part_of(("u", 1), ("u", 1)).skip({"u": 1}).without(())
    assert (kept.user_ids, kept.marks) == ([], [b"T/0/1"])


def test_piece_of_a_part_has_the_marks_of_its_own_offsets():
    kept = part_of(("u", 1), ("a", 2), ("u", 3), ("b", 4), ("u", 5)).skip({"u": 5})
    before, offset = kept.before_user(1)
    assert (offset, before.user_ids, sorted(before.marks)) == (3, ["a"], [b"T/0/1", b"T/0/2", b"T/0/3"])
    after = kept.since(offset)
    assert (after.user_ids, sorted(after.marks)) == (["b"], [b"T/0/4", b"T/0/5"])


def test_statistics_count_applied_events_only():
    records = np.array([(5, 10000, 0), (6, 20000, 0), (5, 30000, 1)], EVENT)
    batch = EventBatch(np.zeros(3, np.int64), records, np.arange(3, dtype=np.uint64))
    assert statistics_deltas(batch, np.array([True, True, False])).tolist() == [(5, 1, 10000), (6, 1, 20000)]
