import json

import numpy as np
import pytest
from xxhash import xxh64_intdigest

from recommender.ledger.fold import apply_event
from recommender.ledger.layout import LastEvent, Ledger
from tests.faults.book import Book, Message
from tests.faults.checker import expected_users, user_faults, without_repeats

VECTORS = {"a": [1.0, 0.0], "b": [0.5, -2.0]}


def rating(partition, item, units, event_id=None, user="u"):
    value = json.dumps({"user_id": user, "item_id": item, "rating": units / 10_000}).encode()
    return Message(partition, value, user, item, units, event_id)


def fold(places):
    ledger = Ledger.empty(2)
    for partition, offset, message in places:
        ledger = apply_event(
            ledger,
            item=xxh64_intdigest(message.item_id.encode()),
            rating=message.rating,
            event=xxh64_intdigest(message.event_id.encode()) if message.event_id else 0,
            at=LastEvent(1, partition, offset),
            x=np.array(VECTORS[message.item_id]) if message.item_id in VECTORS else None,
        )
    return ledger


@pytest.fixture
def places():
    items = ["a", "b", "a", "new", "b"] * 30
    return [(0, offset, rating(0, item, 10_000 + 7 * offset)) for offset, item in enumerate(items)]


def test_a_right_ledger_has_no_fault(places):
    assert user_faults("u", fold(places), places, VECTORS) == []


def test_a_lost_event_is_seen(places):
    faults = user_faults("u", fold(places[:20] + places[21:]), places, VECTORS)
    assert "u: lost 1 of 150 events (t is 149)" in faults


def test_a_doubled_event_is_seen(places):
    faults = user_faults("u", fold([*places[:20], *places[19:]]), places, VECTORS)
    assert "u: doubled 1 of 150 events (t is 151)" in faults


def test_two_events_in_the_wrong_order_are_seen(places):
    places[-1], places[-2] = places[-2], places[-1]
    faults = user_faults("u", fold(places), sorted(places, key=lambda place: place[1]), VECTORS)
    assert "u: counts, last_t or sums differ" in faults
    assert "u: the tail is not the newest events" in faults


def test_an_unlike_mean_is_seen(places):
    faults = user_faults("u", fold(places), places, VECTORS | {"a": [1.0, 1e-6]})
    assert len(faults) == 1
    assert "the mean is off by" in faults[0]


def test_a_user_without_ledger_is_lost(places):
    assert user_faults("u", None, places, VECTORS) == ["u: lost, 150 events"]


def test_any_interleaving_of_partitions_is_right_for_a_shared_user():
    first = [(0, offset, rating(0, item, 20_000)) for offset, item in enumerate("abab")]
    second = [(1, offset, rating(1, item, 30_000)) for offset, item in enumerate("bbaa")]
    mixed = [first[0], second[0], second[1], first[1], first[2], second[2], second[3], first[3]]
    assert user_faults("u", fold(mixed), [*first, *second], VECTORS) == []


def test_repeats_count_again_once_they_left_the_window():
    def events(between):
        ids = ["x", *([None] * between), "x"]
        return [(0, offset, rating(0, "a", 10_000, event_id)) for offset, event_id in enumerate(ids)]

    assert len(without_repeats(events(63))) == 64
    assert len(without_repeats(events(64))) == 66


def test_the_book_expects_nothing_of_bad_records():
    book = Book()
    book.note(0, Message(0, b"{", reason="not_json"))
    book.note(1, rating(0, "a", 10_000))
    assert [len(events) for events in expected_users(book).values()] == [1]
    assert list(book.bad()) == [(0, 0)]
    assert book.ends() == {0: 2}
