"""The whole log of ratings, as those who learn from it see it."""

import json

import pytest

from schemas.forget import ForgetEvent, encode_forget
from services.admin.bus import produce_all
from services.admin.ratings import read_ratings

pytestmark = pytest.mark.integration


def send(settings, *values):
    """Each value under its user's key; returns where it went."""
    records = []
    for value in values:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        records.append((json.loads(data)["user_id"].encode(), data))
    return produce_all(settings, settings.topic("ratings"), records)


def rating(user, item, **more):
    return {"user_id": user, "item_id": item, "rating": 4.0, **more}


def test_ratings_come_with_a_time_each_and_in_order(topics):
    places = send(topics, rating("u", "a", ts_ms=7), rating("u", "b"))
    found = read_ratings(topics)
    assert [(event.user_id, event.item_id) for event in found] == [("u", "a"), ("u", "b")]
    assert found[0].ts_ms == 7
    assert found[1].ts_ms > 1_600_000_000_000
    assert len(places) == 2


def test_what_is_no_rating_is_left_out(topics):
    send(topics, rating("u", "a"), {**rating("u", "b"), "rating": 99.0})
    assert [event.item_id for event in read_ratings(topics)] == ["a"]


def test_a_forgotten_user_is_not_learned_from_but_for_what_came_later(topics):
    places = send(topics, rating("u", "a"), rating("v", "a"))
    cut = {places[0].partition: places[0].offset + 1}
    send(topics, encode_forget(ForgetEvent(user_id="u", cut=cut)), rating("u", "later"))
    found = {(event.user_id, event.item_id) for event in read_ratings(topics)}
    assert found == {("v", "a"), ("u", "later")}
