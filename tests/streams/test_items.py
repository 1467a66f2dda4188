import pytest
from hypothesis import given
from hypothesis import strategies as st

import streams.items
from schemas.codec import encode
from schemas.errors import EventError
from schemas.events import Item
from streams.items import ItemTable, RecordPlace


def put(table, item_id, offset, *, title="", partition=0, timestamp_ms=0):
    table.apply(RecordPlace(partition, offset, timestamp_ms), b"key", encode(Item(item_id=item_id, title=title)))


def withdraw(table, item_id, offset, *, partition=0, timestamp_ms=0):
    table.apply(RecordPlace(partition, offset, timestamp_ms), item_id.encode(), None)


def shown(table):
    return {entry.item.item_id: (entry.item.title, entry.offset, entry.listed) for entry in table.entries()[0]}


def test_the_newest_record_of_an_item_counts_with_its_offset():
    table = ItemTable()
    put(table, "a", 3, title="old")
    put(table, "a", 7, title="new")
    assert shown(table) == {"a": ("new", 7, True)}


def test_a_null_value_withdraws_the_item_of_the_key_and_keeps_what_was_said_of_it():
    table = ItemTable()
    put(table, "a", 3, title="Alien")
    withdraw(table, "a", 4)
    assert shown(table) == {"a": ("Alien", 4, False)}
    put(table, "a", 9, title="Aliens")
    assert shown(table) == {"a": ("Aliens", 9, True)}


def test_an_item_of_which_only_the_withdrawal_is_left_is_known_and_not_listed():
    table = ItemTable()
    withdraw(table, "a", 4)
    assert shown(table) == {"a": ("", 4, False)}


def test_the_value_beats_the_key_where_they_differ():
    table = ItemTable()
    table.apply(RecordPlace(0, 0, 0), b"other", encode(Item(item_id="a")))
    assert list(shown(table)) == ["a"]


def test_between_partitions_the_newer_timestamp_wins_in_either_order_of_reading():
    one, other = ItemTable(), ItemTable()
    put(one, "a", 50, title="older", partition=0, timestamp_ms=1000)
    put(one, "a", 2, title="newer", partition=1, timestamp_ms=2000)
    put(other, "a", 2, title="newer", partition=1, timestamp_ms=2000)
    put(other, "a", 50, title="older", partition=0, timestamp_ms=1000)
    assert shown(one) == shown(other) == {"a": ("newer", 2, True)}


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.booleans()), max_size=30),
    st.randoms(use_true_random=False),
)
def test_readers_agree_whatever_order_they_read_the_partitions_in(records, shuffler):
    by_partition = {0: [], 1: [], 2: []}
    for timestamp_ms, (partition, item_id, is_described) in enumerate(records):
        by_partition[partition].append((timestamp_ms, item_id, is_described))

    def read(order):
        table = ItemTable()
        offsets = dict.fromkeys(by_partition, 0)
        for partition in order:
            timestamp_ms, item_id, is_described = by_partition[partition][offsets[partition]]
            act = put if is_described else withdraw
            act(table, item_id, offsets[partition], partition=partition, timestamp_ms=timestamp_ms)
            offsets[partition] += 1
        return shown(table)

    order = [partition for partition, kept in by_partition.items() for _ in kept]
    shuffled = list(order)
    shuffler.shuffle(shuffled)
    assert read(order) == read(shuffled)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"a", b"", "empty_value"),
        (b"a", b"\xff", "not_utf8"),
        (b"a", b"{", "not_json"),
        (b"a", b"[]", "wrong_type"),
        (b"a", b"{}", "missing_field"),
        (b"a", b'{"item_id": ""}', "bad_id"),
        (b"a", b'{"item_id": "a", "genres": "Drama"}', "wrong_type"),
        (b"a", b'{"item_id": "a", "v": 2}', "unknown_version"),
        (b"a", b'{"item_id": "a", "title": "' + b"x" * 300_000 + b'"}', "too_large"),
        (None, None, "missing_field"),
        (b"\xff", None, "not_utf8"),
        (b"", None, "bad_id"),
        (b"x" * 129, None, "bad_id"),
    ],
)
def test_a_bad_record_is_refused_with_its_reason_and_changes_nothing(key, value, reason):
    table = ItemTable()
    put(table, "a", 0, title="Alien")
    with pytest.raises(EventError) as refusal:
        table.apply(RecordPlace(0, 1, 0), key, value)
    assert refusal.value.reason == reason
    assert shown(table) == {"a": ("Alien", 0, True)}


def test_of_items_that_share_a_hash_the_later_in_catalogue_order_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(streams.items, "hash_id", lambda item_id: 7 if item_id in "ab" else ord(item_id))
    table = ItemTable()
    put(table, "b", 5)
    put(table, "a", 9)
    put(table, "c", 10)
    entries, refused = table.entries()
    assert [entry.item.item_id for entry in entries] == ["b", "c"]
    assert refused == {"a": "b"}


def test_what_changed_is_taken_once():
    table = ItemTable()
    put(table, "a", 3)
    put(table, "b", 4)
    put(table, "a", 5, title="new")
    put(table, "a", 4, title="late")
    assert sorted((entry.item.item_id, entry.offset) for entry in table.take_changes()) == [("a", 5), ("b", 4)]
    assert table.take_changes() == []
    withdraw(table, "b", 6)
    assert [(entry.item.item_id, entry.listed) for entry in table.take_changes()] == [("b", False)]


def test_changes_do_not_say_all_while_ids_share_a_hash(monkeypatch):
    monkeypatch.setattr(streams.items, "hash_id", lambda _: 1)
    table = ItemTable()
    put(table, "a", 3)
    assert [entry.item.item_id for entry in table.take_changes()] == ["a"]
    put(table, "b", 4)
    assert table.take_changes() is None
