"""The ledger's bytes and its entries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recommender.ledger.layout
from recommender.ledger import ENTRY, EVENT, LastEvent, Ledger, entries, entries_of_all, pack, unpack
from recommender.ledger.layout import FIXED_BYTES, fold_events, fold_tail, header_dtype, window
from schemas.errors import LedgerError


def ledger_of_three_events() -> Ledger:
    """Item 7 once in the base (t 0); then 9 and 7 again in the tail (t 1, 2)."""
    return Ledger(
        rev=5,
        t=3,
        last=LastEvent(topic=11, partition=2, offset=40),
        embedding_id=b"12345678",
        unembedded=1,
        mean=np.array([0.5, -1.0]),
        base=np.array([(7, 1, 0, 30000)], ENTRY),
        tail=np.array([(9, 45000, 0), (7, 5000, 99)], EVENT),
    )


def test_sizes_are_those_of_the_documented_layout():
    assert ENTRY.itemsize == 24
    assert EVENT.itemsize == 20
    assert header_dtype(0).itemsize == FIXED_BYTES == 56
    assert len(pack(ledger_of_three_events())) == 56 + 2 * 8 + 24 + 2 * 20


def test_unpack_gives_back_what_was_packed():
    ledger = ledger_of_three_events()
    again = unpack(pack(ledger))
    assert (again.rev, again.t, again.last) == (5, 3, ledger.last)
    assert (again.embedding_id, again.unembedded) == (b"12345678", 1)
    for name in ("mean", "base", "tail"):
        np.testing.assert_array_equal(getattr(again, name), getattr(ledger, name))


def test_empty_ledger_has_no_last_event():
    assert unpack(pack(Ledger.empty(3))).last is None


def test_entries_merge_base_and_tail():
    assert entries(ledger_of_three_events()).tolist() == [(7, 2, 2, 35000), (9, 1, 1, 45000)]


ITEMS = st.sampled_from([0, 1, 2, 3, 2**63, 2**64 - 1])
RATINGS = st.integers(-(2**31), 2**31 - 1)


@st.composite
def ledgers(draw):
    base = [
        (item, draw(st.integers(1, 9)), draw(st.integers(0, 30)), draw(st.integers(-(2**60), 2**60)))
        for item in sorted(draw(st.sets(ITEMS)))
    ]
    tail = [(item, rating, 0) for item, rating in draw(st.lists(st.tuples(ITEMS, RATINGS), max_size=6))]
    t = len(tail) + draw(st.integers(0, 2**31))
    return Ledger(1, t, None, b"embedded", 0, np.zeros(2), np.array(base, ENTRY), np.array(tail, EVENT))


@given(st.lists(ledgers(), max_size=8), st.sampled_from([-1, 2, 1024]))
def test_entries_of_all_are_those_of_each_whatever_the_others(given_ledgers, most_sorted):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recommender.ledger.layout, "MOST_SORTED", most_sorted)
        found = entries_of_all(given_ledgers)
    assert [each.tobytes() for each in found] == [entries(ledger).tobytes() for ledger in given_ledgers]


def test_first_bytes_name_a_revision():
    value = pack(ledger_of_three_events())
    assert value[:2] == b"\x01\x01"
    assert int.from_bytes(value[2:4], "little") == 2
    assert int.from_bytes(value[4:8], "little") == 1
    assert int.from_bytes(value[8:16], "little") == 5


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "at least 56 bytes, got 0"),
        (b"\x02\x01" + bytes(60), "must be 1.1, got 2.1"),
        (b"\x01\x02" + bytes(60), "must be 1.1, got 1.2"),
        (pack(Ledger.empty(2))[:-1], "71 bytes do not fit a ledger of D 2"),
        (pack(Ledger.empty(2)) + b"x", "73 bytes do not fit"),
    ],
)
def test_bytes_that_are_no_ledger_are_refused_with_the_numbers(value, words):
    with pytest.raises(LedgerError, match=words):
        unpack(value)


def test_fold_of_no_events_returns_the_base():
    base = np.array([(7, 1, 0, 30000)], ENTRY)
    assert fold_events(base, np.empty(0, EVENT), 4) is base


def test_window_is_32_to_64_of_the_newest_events():
    assert [window(t) for t in (0, 1, 64, 65, 66, 97, 98, 130, 131)] == [0, 1, 64, 32, 33, 64, 32, 64, 32]


@pytest.mark.parametrize("entries", [0, 3200])
def test_tail_is_folded_to_the_window_when_it_is_too_long(entries):
    base = np.zeros(entries, ENTRY)
    base["item"] = np.arange(1000, 1000 + entries)
    tail = np.zeros(0, EVENT)
    lengths = []
    for t in range(1, 700):
        tail = np.concatenate([tail, np.array([(5, 30000, 0)], EVENT)])
        grown, (base, tail) = len(tail), fold_tail(base, tail, t)
        lengths.append(grown)
        if len(tail) < grown:
            assert grown == 64 + entries // 16 + 1
            assert len(tail) == window(t)
    assert max(lengths) == 65 + entries // 16
