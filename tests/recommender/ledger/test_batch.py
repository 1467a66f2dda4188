"""The batch fold gives what the fold of one event gives, however the events are cut into batches."""

from collections.abc import Collection
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.ledger import ENTRY, EVENT, LastEvent, Ledger, apply_event, compact, entries, pack, unpack
from recommender.ledger.batch import EmbeddedItems, EventBatch, LedgerWrite, StoredLedger, fold_batch
from recommender.ledger.layout import FIXED_BYTES, PREFIX_BYTES, READERS, WRITTEN, header_dtype, window
from schemas.errors import LedgerError
from tests.next_layout import NEXT, read_next, to_next

TOPIC, PARTITION = 77, 3
DIM = 3
ITEMS = EmbeddedItems(b"abcdefgh", np.arange(10, 70, dtype=np.uint64), np.random.default_rng(1).normal(size=(60, DIM)))


def read(
    value: bytes | None, new_events: int, items: EmbeddedItems = ITEMS, whole_bytes: int = 0
) -> StoredLedger | None:
    """What the read script returns of a stored value."""
    if value is None:
        return None
    ledger = unpack(value)
    is_due = len(ledger.tail) + new_events > 64 + len(ledger.base) // 16
    if len(value) < whole_bytes or ledger.embedding_id != items.embedding_id or is_due:
        return StoredLedger(value, is_whole=True)
    size = header_dtype(items.dim).itemsize
    return StoredLedger(value[:size] + value[max(size + 24 * len(ledger.base), len(value) - 20 * 64) :], is_whole=False)


def write(value: bytes | None, change: LedgerWrite) -> bytes:
    """What the commit script makes of a stored value."""
    assert change.expected == (b"" if value is None else value[:PREFIX_BYTES])
    if not change.is_append:
        return change.head
    return change.head + value[len(change.head) :] + change.tail


def fold_in_batches(
    events, cuts, items: EmbeddedItems = ITEMS, users: int = 3, whole_bytes: int = 0, idle: Collection[int] = ()
) -> list[bytes | None]:
    """Fold events cut into batches; after a batch whose number is in ``idle``, every ledger is made smaller."""
    stored: list[bytes | None] = [None] * users
    bounds = sorted({0, len(events), *(cut % (len(events) + 1) for cut in cuts)})
    for number, (start, end) in enumerate(pairwise(bounds)):
        part = events[start:end]
        batch = EventBatch(
            np.array([user for user, *_ in part], np.int64),
            np.array([tuple(event) for _, *event in part], EVENT),
            np.arange(start, end, dtype=np.uint64),
        )
        found = [read(stored[u], int((batch.users == u).sum()), items, whole_bytes) for u in range(users)]
        folded = fold_batch(batch, found, np.zeros(users, np.uint64), TOPIC, PARTITION, items)
        for user, change in zip(folded.users, folded.writes, strict=True):
            if change.head:
                stored[user] = write(stored[user], change)
        if number in idle:
            stored = [value and pack(compact(unpack(value))) for value in stored]
    return stored


def fold_one_by_one(events, items: EmbeddedItems = ITEMS, users: int = 3) -> list[Ledger]:
    ledgers = [Ledger.empty(items.dim, embedding_id=items.embedding_id)] * users
    for offset, (user, item, rating, event) in enumerate(events):
        row = items.rows(np.array([item], np.uint64))[0]
        ledgers[user] = apply_event(
            ledgers[user],
            item=item,
            rating=rating,
            event=event,
            at=LastEvent(TOPIC, PARTITION, offset),
            x=None if row < 0 else items.vectors[row],
        )
    return ledgers


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(10, 69), st.integers(5000, 50000), st.integers(0, 40)), max_size=250
)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.lists(st.integers(0, 250), max_size=12), st.sampled_from([0, 900, 10_000]))
def test_any_cut_into_batches_and_any_reading_gives_the_bytes_of_one_event_at_a_time(events, cuts, whole_bytes):
    folded = fold_in_batches(events, cuts, whole_bytes=whole_bytes)
    for value, ledger in zip(folded, fold_one_by_one(events), strict=True):
        if ledger.t == 0:
            assert value is None
            continue
        found = unpack(value)
        assert (found.t, found.last, found.unembedded) == (ledger.t, ledger.last, ledger.unembedded)
        np.testing.assert_array_equal(found.mean, ledger.mean)
        np.testing.assert_array_equal(found.base, ledger.base)
        np.testing.assert_array_equal(found.tail, ledger.tail)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.just(0), st.integers(10, 14), st.just(30000), st.integers(0, 90)), min_size=50, max_size=300),
    st.lists(st.integers(0, 300), max_size=12),
    st.sets(st.integers(0, 12)),
)
def test_folding_between_batches_changes_no_count_and_finds_the_same_repeats(events, cuts, idle):
    plain = unpack(fold_in_batches(events, cuts, users=1)[0])
    folded = unpack(fold_in_batches(events, cuts, users=1, idle=idle)[0])
    assert (folded.t, folded.last) == (plain.t, plain.last)
    np.testing.assert_array_equal(entries(folded), entries(plain))
    np.testing.assert_array_equal(folded.mean, plain.mean)
    np.testing.assert_array_equal(folded.tail[-32:], plain.tail[-32:])


@pytest.mark.parametrize("cuts", [[], [66], [40, 70], list(range(100))])
@pytest.mark.parametrize(("first", "again", "t"), [(0, 63, 99), (0, 64, 99), (0, 65, 100), (40, 64, 99), (30, 65, 100)])
def test_repeat_is_one_within_the_window_only_however_the_events_are_cut(first, again, t, cuts):
    events = [(0, 10 + n % 40, 30000, 7 if n in {first, again} else 0) for n in range(100)]
    assert unpack(fold_in_batches(events, cuts, users=1)[0]).t == t
    assert fold_one_by_one(events, users=1)[0].t == t


@pytest.mark.parametrize(("distance", "is_repeat"), [(40, True), (41, False), (90, False)])
@pytest.mark.parametrize("whole_bytes", [0, 100_000])
def test_repeat_in_a_long_tail_is_one_within_the_window_only(distance, is_repeat, whole_bytes):
    base = np.zeros(1600, ENTRY)
    base["item"], base["count"] = np.arange(1000, 2600), 1
    base["count"][0] = 65 + 33 * 60 + 8 - 100 - 1599
    tail = np.array([(10, 30000, 7 * (n == 100 - distance)) for n in range(100)], EVENT)
    t = int(base["count"].sum()) + 100
    assert window(t) == 40
    ledger = Ledger(1, t, LastEvent(TOPIC, 0, 0), ITEMS.embedding_id, 0, np.zeros(DIM), base, tail)
    batch = EventBatch(np.zeros(1, np.int64), np.array([(10, 50000, 7)], EVENT), np.array([9], np.uint64))
    found = [read(pack(ledger), 1, whole_bytes=whole_bytes)]
    folded = fold_batch(batch, found, np.zeros(1, np.uint64), TOPIC, PARTITION, ITEMS)
    assert folded.applied.tolist() == [not is_repeat]
    one = apply_event(ledger, item=10, rating=50000, event=7, at=LastEvent(TOPIC, 0, 9), x=None)
    assert (one is ledger) == is_repeat


def test_items_without_a_vector_are_counted_until_the_ledger_is_rewritten():
    events = [(0, 10, 40000, 0), (0, 5, 30000, 0), (0, 5, 20000, 0)]
    assert unpack(fold_in_batches(events, [1])[0]).unembedded == 2


def test_another_embedding_of_another_size_is_taken_up_from_the_entries():
    events = [(0, 10, 40000, 0), (0, 11, 30000, 0)]
    value = fold_in_batches(events, [])[0]
    newer = EmbeddedItems(b"newer..!", np.array([10, 11], np.uint64), np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]))
    batch = EventBatch(np.zeros(1, np.int64), np.array([(10, 50000, 0)], EVENT), np.array([2], np.uint64))
    folded = fold_batch(batch, [read(value, 1, newer)], np.zeros(1, np.uint64), TOPIC, PARTITION, newer)
    ledger = unpack(write(value, folded.writes[0]))
    assert ledger.embedding_id == b"newer..!"
    np.testing.assert_allclose(ledger.mean, [(4 + 5) / 3, 3 / 3, 0, 0], atol=1e-15)


def test_state_without_any_embedding_keeps_exact_counts():
    none = EmbeddedItems(bytes(8), np.empty(0, np.uint64), np.empty((0, 0)))
    ledger = unpack(fold_in_batches([(0, 10, 40000, 0), (0, 10, 30000, 0)], [1], none)[0])
    assert (ledger.t, ledger.unembedded, len(ledger.mean)) == (2, 2, 0)


def test_rev_starts_where_it_is_told_and_grows_by_what_it_is_told_and_one():
    batch = EventBatch(np.zeros(1, np.int64), np.array([(10, 50000, 0)], EVENT), np.array([0], np.uint64))
    first = fold_batch(batch, [None], np.array([123], np.uint64), TOPIC, PARTITION, ITEMS).writes[0].head
    again = fold_batch(batch, [read(first, 1)], np.array([9], np.uint64), TOPIC, PARTITION, ITEMS)
    assert [unpack(first).rev, unpack(write(first, again.writes[0])).rev] == [124, 134]


def test_batch_of_repeats_writes_nothing_but_says_which_ledger_they_were_found_in():
    batch = EventBatch(np.zeros(1, np.int64), np.array([(10, 50000, 8)], EVENT), np.array([0], np.uint64))
    value = fold_batch(batch, [None], np.zeros(1, np.uint64), TOPIC, PARTITION, ITEMS).writes[0].head
    folded = fold_batch(batch, [read(value, 1)], np.zeros(1, np.uint64), TOPIC, PARTITION, ITEMS)
    assert (folded.users, folded.applied.tolist()) == ([0], [False])
    assert folded.writes == [LedgerWrite(value[:16], False, b"", b"")]


@pytest.mark.parametrize("seen", [10, 1000])
def test_write_to_an_old_user_is_as_small_as_to_a_new_one(seen):
    events = [(0, 100 + n, 40000, 0) for n in range(seen)]
    value = fold_in_batches(events, [seen - 1])[0]
    batch = EventBatch(np.zeros(1, np.int64), np.array([(10, 50000, 0)], EVENT), np.array([seen], np.uint64))
    change = fold_batch(batch, [read(value, 1)], np.zeros(1, np.uint64), TOPIC, PARTITION, ITEMS).writes[0]
    assert change.is_append
    assert len(change.head) + len(change.tail) == FIXED_BYTES + 8 * DIM + 20


def test_written_ledger_is_what_pack_writes():
    value = fold_in_batches([(0, 10, 40000, 0)], [])[0]
    assert pack(unpack(value)) == value


@pytest.mark.parametrize(("length", "version"), [(99, 1), (70, 1), (100, 2)])
def test_ledger_that_cannot_be_read_is_refused_not_written_over(length, version):
    value = fold_in_batches([(0, 10, 40000, 0)], [])[0]
    assert len(value) == 100
    value = bytes([version]) + value[1:length]
    batch = EventBatch(np.zeros(1, np.int64), np.array([(10, 50000, 0)], EVENT), np.array([1], np.uint64))
    with pytest.raises(LedgerError):
        fold_batch(batch, [StoredLedger(value, is_whole=True)], np.zeros(1, np.uint64), TOPIC, PARTITION, ITEMS)


@pytest.fixture
def _next_layout_is_known(monkeypatch):
    monkeypatch.setitem(READERS, NEXT, read_next)


@pytest.mark.usefixtures("_next_layout_is_known")
@pytest.mark.parametrize("count", [10, 300])
def test_ledger_of_another_layout_is_folded_as_if_it_were_of_this_one_and_written_in_this_one(count):
    (before,) = fold_in_batches([(0, 10 + i % 60, 40_000, i + 1) for i in range(count)], [], users=1)
    records = np.array([(11, 20_000, count), (12, 30_000, 0)], EVENT)
    batch = EventBatch(np.zeros(2, np.int64), records, np.arange(count, count + 2, dtype=np.uint64))
    for stored in (before, to_next(before)):
        folded = fold_batch(batch, [StoredLedger(stored, True)], np.zeros(1, np.uint64), TOPIC, PARTITION, ITEMS)
        (change,) = folded.writes
        assert folded.applied.tolist() == [False, True]
        assert change.expected == stored[:PREFIX_BYTES]
        after = unpack(write(stored, change))
        assert (change.head[:2], after.t, after.rev) == (WRITTEN, count + 1, unpack(before).rev + 1)
        np.testing.assert_array_equal(entries(after), entries(unpack(fold_in_batches_after(before, records[1:]))))


def fold_in_batches_after(value, records):
    batch = EventBatch(np.zeros(len(records), np.int64), records, np.array([999], np.uint64))
    whole = [StoredLedger(value, True)]
    (change,) = fold_batch(batch, whole, np.zeros(1, np.uint64), TOPIC, PARTITION, ITEMS).writes
    return change.head
