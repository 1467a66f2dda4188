"""What a writer keeps of the ledgers it read or wrote."""

import dataclasses

import numpy as np
import pytest

from recommender.ledger import EVENT, LastEvent, Ledger, apply_event, pack
from recommender.ledger.batch import EmbeddedItems, LedgerWrite, StoredLedger
from recommender.ledger.layout import PREFIX_BYTES, header_dtype
from streams.store.ledger_cache import LedgerCache
from tests.next_layout import to_next

ITEMS = EmbeddedItems(b"vectors1", np.array([1, 2], np.uint64), np.ones((2, 2)))
SIZE = header_dtype(2).itemsize
WHOLE_BYTES = 400


def ledger_of(events, rev=1, embedding_id=ITEMS.embedding_id):
    ledger = Ledger.empty(2, rev=rev, embedding_id=embedding_id)
    for offset in range(events):
        at = LastEvent(1, 0, offset)
        ledger = apply_event(ledger, item=offset + 1, rating=30_000, event=0, at=at, x=np.ones(2))
    return pack(dataclasses.replace(ledger, rev=rev))


def whole(value):
    return StoredLedger(value, True)


def find(cache, user_id="u", new=1, items=ITEMS):
    (found,) = cache.find([user_id], [new], items)
    return found


def write_of(before, value, *, is_append=False):
    if is_append:
        return LedgerWrite(before[:PREFIX_BYTES], True, value[:SIZE], value[len(before) :])
    return LedgerWrite(before[:PREFIX_BYTES], False, value, b"")


@pytest.fixture
def cache():
    return LedgerCache(1_000_000, WHOLE_BYTES)


def test_small_ledger_is_found_whole_as_it_was_read_and_as_it_was_written(cache):
    before, after = ledger_of(2), ledger_of(3, rev=2)
    cache.add("u", whole(before))
    assert find(cache) == whole(before)
    cache.written(["u"], [write_of(before, after)])
    assert find(cache) == whole(after)


def test_large_ledger_is_found_as_header_and_newest_events_with_the_length_of_its_tail(cache):
    value = ledger_of(70)
    base = int.from_bytes(value[4:8], "little")
    tail = value[SIZE + 24 * base :]
    cache.add("u", whole(value))
    assert base > 0
    assert find(cache) == StoredLedger(value[:SIZE] + tail[-64 * 20 :], False, len(tail) // 20)


def test_appended_events_are_found_the_newest_64_of_them():
    cache = LedgerCache(1_000_000, 0)
    value = ledger_of(60)
    cache.add("u", whole(value))
    for rev in range(2, 12):
        added = np.array([(rev, 10_000, 0)], EVENT).tobytes()
        head = value[:8] + rev.to_bytes(8, "little") + value[16:SIZE]
        after = head + value[SIZE:] + added
        cache.written(["u"], [write_of(value, after, is_append=True)])
        value = after
    assert find(cache, new=0) is None, "70 events are more than a tail may hold"
    # A base of 16 entries for each event more, as the header says, would allow it.
    value = value[:4] + (16 * 10).to_bytes(4, "little") + value[8:]
    cache.add("u", StoredLedger(value[:SIZE] + value[-64 * 20 :], False, 70))
    assert find(cache, new=4) == StoredLedger(value[:SIZE] + value[-64 * 20 :], False, 70)
    assert find(cache, new=5) is None


@pytest.mark.parametrize(
    "items",
    [
        EmbeddedItems(b"vectors2", ITEMS.hashes, ITEMS.vectors),
        EmbeddedItems(ITEMS.embedding_id, ITEMS.hashes, np.ones((2, 3))),
    ],
    ids=["another release", "another D"],
)
def test_large_ledger_of_other_vectors_must_be_read_for_its_mean_is_made_anew(cache, items):
    cache.add("u", whole(ledger_of(70)))
    assert find(cache, items=items) is None
    assert find(cache) is not None


def test_user_without_a_ledger_must_be_read_and_what_is_written_first_is_kept(cache):
    cache.add("u", None)
    assert find(cache) is None
    cache.written(["u"], [LedgerWrite(b"", False, ledger_of(1), b"")])
    assert find(cache) == whole(ledger_of(1))


def test_write_of_a_user_who_was_not_read_or_of_another_revision_is_not_kept(cache):
    cache.written(["u"], [LedgerWrite(b"", False, ledger_of(1), b"")])
    assert find(cache) is None
    cache.add("u", whole(ledger_of(2)))
    cache.written(["u"], [write_of(ledger_of(2, rev=9), ledger_of(3, rev=10))])
    assert find(cache) is None


def test_user_whom_another_worker_writes_is_read_each_time(cache):
    value = ledger_of(2)
    cache.add("u", whole(value))
    cache.conflict(["u"], [write_of(value, ledger_of(3, rev=2))], [0])
    cache.add("u", whole(value))
    cache.written(["u"], [write_of(value, ledger_of(3, rev=2))])
    assert find(cache) is None


def test_conflict_with_a_write_of_this_worker_keeps_what_was_written(cache):
    """Two partitions of one worker read the same user, and one of them was first."""
    read, written = ledger_of(2), ledger_of(3, rev=2)
    cache.add("u", whole(read))
    cache.written(["u"], [write_of(read, written)])
    cache.conflict(["u"], [write_of(read, ledger_of(3, rev=3))], [0])
    assert find(cache) == whole(written)


def test_all_is_dropped_when_a_user_was_forgotten(cache):
    cache.see_forgets(b"")
    cache.add("u", whole(ledger_of(1)))
    cache.see_forgets(b"")
    assert find(cache) is not None
    cache.see_forgets(b"1")
    assert (find(cache), cache.forgets) == (None, b"1")


def test_ledgers_that_may_have_been_written_or_not_are_dropped(cache):
    cache.add("u", whole(ledger_of(1)))
    cache.drop(["u", "nobody"])
    assert find(cache) is None


def test_what_was_not_touched_longest_goes_first_and_the_bytes_stay_bounded():
    value = ledger_of(2)
    each = len("u000") + len(value) + 300
    cache = LedgerCache(100 * each, WHOLE_BYTES)
    users = [f"u{number:03}" for number in range(500)]
    for user_id in users:
        cache.add(user_id, whole(value))
    kept = [user_id for user_id in users if find(cache, user_id)]
    assert kept == users[-len(kept) :]
    assert 50 <= len(kept) <= 102
    for _ in range(200):  # the same user again takes no more
        cache.add(users[-1], whole(value))
    assert [user_id for user_id in users if find(cache, user_id)] == kept


def test_cache_of_no_bytes_keeps_nothing():
    cache = LedgerCache(0, WHOLE_BYTES)
    cache.add("u", whole(ledger_of(1)))
    assert find(cache) is None


def test_large_ledger_of_another_layout_is_kept_whole(cache):
    cache.add("u", whole(to_next(ledger_of(70))))
    assert find(cache) == whole(to_next(ledger_of(70)))
