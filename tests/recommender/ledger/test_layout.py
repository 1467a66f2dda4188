"""The ledger's bytes and its entries."""

import numpy as np
import pytest

from recommender.ledger import ENTRY, EVENT, LastEvent, Ledger, entries, pack, unpack
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
